package fakewa

import (
	"bytes"
	"context"
	"crypto/cipher"
	"errors"

	"github.com/coder/websocket"
	"go.mau.fi/whatsmeow/socket"
)

// maxFrame is how long a client's frame may be, in bytes. The first upload of prekeys has 40 KiB.
const maxFrame = socket.FrameMaxSize

// frames cuts a WebSocket's byte stream into frames: three bytes of length, then so many bytes. Reading
// and writing may go on at once, each from one goroutine.
type frames struct {
	ws      *websocket.Conn
	started bool   // the client's header has been read
	rest    []byte // read, but not yet asked for
	in, out direction
}

// direction is one way of an encrypted connection. Without a cipher nothing is encrypted.
type direction struct {
	cipher  cipher.AEAD
	counter uint32
}

var (
	errHeader = errors.New("fakewa: the client does not begin like WhatsApp's")
	errFrame  = errors.New("fakewa: a frame cannot be decrypted")
)

// read returns the next frame, decrypted.
func (f *frames) read(ctx context.Context) ([]byte, error) {
	if err := f.header(ctx); err != nil {
		return nil, err
	}
	length, err := f.take(ctx, socket.FrameLengthSize)
	if err != nil {
		return nil, err
	}
	body, err := f.take(ctx, int(length[0])<<16|int(length[1])<<8|int(length[2]))
	if err != nil || f.in.cipher == nil {
		return body, err
	}
	plain, err := f.in.cipher.Open(nil, nonce(f.in.counter), body, nil)
	if err != nil {
		return nil, errFrame
	}
	f.in.counter++
	return plain, nil
}

// header reads what precedes the first frame.
func (f *frames) header(ctx context.Context) error {
	if f.started {
		return nil
	}
	got, err := f.take(ctx, len(socket.WAConnHeader))
	if err != nil {
		return err
	}
	if !bytes.Equal(got, socket.WAConnHeader) {
		return errHeader
	}
	f.started = true
	return nil
}

// take returns the next n bytes. Clients may cut frames over messages, or glue several together.
func (f *frames) take(ctx context.Context, n int) ([]byte, error) {
	for len(f.rest) < n {
		kind, message, err := f.ws.Read(ctx)
		if err != nil {
			return nil, err
		}
		if kind == websocket.MessageBinary {
			f.rest = append(f.rest, message...)
		}
	}
	taken := f.rest[:n:n]
	if f.rest = f.rest[n:]; len(f.rest) == 0 {
		f.rest = nil // an idle connection keeps no buffer
	}
	return taken, nil
}

// write sends one frame as one message: clients lose a frame that is cut over two.
func (f *frames) write(ctx context.Context, body []byte) error {
	frame := make([]byte, socket.FrameLengthSize, socket.FrameLengthSize+len(body)+16)
	if f.out.cipher != nil {
		body = f.out.cipher.Seal(nil, nonce(f.out.counter), body, nil)
		f.out.counter++
	}
	frame[0], frame[1], frame[2] = byte(len(body)>>16), byte(len(body)>>8), byte(len(body))
	return f.ws.Write(ctx, websocket.MessageBinary, append(frame, body...))
}
