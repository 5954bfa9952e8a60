package child

import (
	"context"
	"net"
)

func listen(ctx context.Context) (net.Listener, error) {
	return (&net.ListenConfig{}).Listen(ctx, "tcp4", "127.0.0.1:0")
}

// FreePort returns a port of this machine that was free a moment ago, for servers that cannot choose one.
func FreePort(ctx context.Context) (int, error) {
	l, err := listen(ctx)
	if err != nil {
		return 0, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	return port, l.Close()
}
