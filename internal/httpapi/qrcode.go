package httpapi

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"reflect"

	"github.com/labstack/echo/v4"
	"rsc.io/qr"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/pkg/api"
)

const (
	contentTypePNG = "image/png"
	// qrScale is how many pixels a dot of a QR code has each way: a picture of about 500 by 500.
	qrScale = 6
)

// shownCode is a code for a phone with, for a QR code, its picture.
type shownCode struct {
	shown   api.QRCode
	picture []byte // PNG; nil for none
}

// presentCode shows the code that waits for a phone, if any.
func presentCode(st *domain.LinkState) (shownCode, error) {
	code := shownCode{shown: api.QRCode{Status: api.LiveStatus(st.Status)}}
	if st.Code.Text == "" {
		return code, nil
	}
	code.shown.ExpiresAt = optionalTime(st.Code.ExpiresAt)
	if st.Code.Method == domain.PairByCode {
		code.shown.PairingCode = &st.Code.Text
		return code, nil
	}
	var err error
	if code.picture, err = draw(st.Code.Text); err != nil {
		return shownCode{}, err
	}
	code.shown.QRText = &st.Code.Text
	code.shown.QRCode = new(dataURL(code.picture))
	return code, nil
}

// draw makes a picture of a QR code.
func draw(text string) ([]byte, error) {
	code, err := qr.Encode(text, qr.L) // phones read screens, which have no stains
	if err != nil {
		return nil, fmt.Errorf("draw the QR code: %w", err)
	}
	code.Scale = qrScale
	return code.PNG(), nil
}

func dataURL(picture []byte) string {
	return "data:" + contentTypePNG + ";base64," + base64.StdEncoding.EncodeToString(picture)
}

// DrawQR returns the picture of a QR code as a data URL, as all answers show it; "" when it cannot be drawn.
func DrawQR(text string) string {
	picture, err := draw(text)
	if err != nil {
		return ""
	}
	return dataURL(picture)
}

// handlePicture is handle for operations whose success is a PNG picture.
func handlePicture[Req any](s *Server, op func(context.Context, *domain.Principal, *Req) ([]byte, error)) endpoint {
	plan := planOf(reflect.TypeFor[Req]())
	return func(c echo.Context, _ *route) error {
		req := new(Req)
		if _, err := s.bind(c, &plan, req); err != nil {
			return err
		}
		picture, err := op(s.work(c), infoOf(c).principal, req)
		if err != nil {
			return err
		}
		c.Response().Header().Set(echo.HeaderCacheControl, "no-store") // it is soon worthless, and a secret until then
		return c.Blob(http.StatusOK, contentTypePNG, picture)
	}
}
