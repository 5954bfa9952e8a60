package httpapi_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"image/png"
	"net/http"
	"strings"
	"testing"
	"time"

	"rsc.io/qr"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/internal/testkit/apitest"
	"github.com/pombal-api/pombal/pkg/api"
)

// linked runs the test on both engines with a fake WhatsApp of its own.
func linked(t *testing.T, test func(*testing.T, *apitest.WhatsApp, *apitest.Tenant)) {
	t.Helper()
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			wa := apitest.NewWhatsApp(t)
			test(t, wa, apitest.Start(t, engine, wa.Use).NewTenant(t))
		})
	}
}

func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// One instance by QR code: the same code wherever it is asked for, then the connection, then none.
func TestConnect_ByQRCode(t *testing.T) {
	linked(t, func(t *testing.T, wa *apitest.WhatsApp, tenant *apitest.Tenant) {
		ctx, instances := t.Context(), tenant.API.Instances
		in, phone := tenant.NewInstance(t, "Sales"), wa.Phone(t, "5511999990001")
		none := must[*api.QRCode](t)(instances.QRCode(ctx, in.ID))
		if none.Status != api.LiveStatusDisconnected || none.QRCode != nil || none.QRText != nil || none.ExpiresAt != nil {
			t.Errorf("before: %+v", none)
		}
		code := must[*api.ConnectResult](t)(instances.Connect(ctx, in.ID, api.ConnectInstance{}))
		checkCode(t, code)
		again := must[*api.ConnectResult](t)(instances.Connect(ctx, in.ID, api.ConnectInstance{Method: api.ConnectMethodQRCode}))
		current := must[*api.QRCode](t)(instances.QRCode(ctx, in.ID))
		report := must[*api.InstanceStatusReport](t)(instances.Status(ctx, in.ID))
		if *again.QRText != *code.QRText || *current.QRText != *code.QRText || *current.QRCode != *code.QRCode || *report.QRCode != *code.QRCode {
			t.Error("the code is not the same everywhere")
		}
		if report.Status != api.LiveStatusQRPending || *report.QRCodeExpiresAt != *code.QRCodeExpiresAt {
			t.Errorf("status %+v", report)
		}
		if listed := must[*api.Instance](t)(instances.Get(ctx, in.ID)); listed.Status != api.InstanceStatusConnecting {
			t.Errorf("the object says %s", listed.Status)
		}
		if err := phone.ScanQR(ctx, *code.QRText); err != nil {
			t.Fatal(err)
		}
		tenant.Await(t, in.ID, domain.StatusConnected)
		checkConnected(t, tenant, in.ID, "5511999990001")
	})
}

// checkCode looks at the answer of connect, and at the picture.
func checkCode(t *testing.T, code *api.ConnectResult) {
	t.Helper()
	if code.Status != api.LiveStatusQRPending || code.QRCode == nil || code.QRText == nil || code.PairingCode != nil {
		t.Fatalf("connect answered %+v", code)
	}
	if left := time.Until(code.QRCodeExpiresAt.Time); left <= 0 || left > time.Minute {
		t.Errorf("the code ends in %v", left)
	}
	encoded, ok := strings.CutPrefix(*code.QRCode, "data:image/png;base64,")
	if !ok {
		t.Fatalf("qrCode begins %.30q", *code.QRCode)
	}
	checkPicture(t, must[[]byte](t)(base64.StdEncoding.DecodeString(encoded)), *code.QRText)
}

// checkPicture compares each dot of the picture.
func checkPicture(t *testing.T, data []byte, text string) {
	t.Helper()
	picture, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	want := must[*qr.Code](t)(qr.Encode(text, qr.L))
	const scale, border = 6, 4
	if size := picture.Bounds().Dx(); size != (want.Size+2*border)*scale {
		t.Fatalf("the picture is %d wide", size)
	}
	for y := range want.Size {
		for x := range want.Size {
			r, _, _, _ := picture.At((x+border)*scale+scale/2, (y+border)*scale+scale/2).RGBA()
			if black := r < 0x8000; black != want.Black(x, y) {
				t.Fatalf("dot %d,%d is wrong", x, y)
			}
		}
	}
}

// checkConnected looks at all that there is to see of a connection, and at what is refused meanwhile.
func checkConnected(t *testing.T, tenant *apitest.Tenant, id, number string) {
	t.Helper()
	ctx, instances := t.Context(), tenant.API.Instances
	tenant.AwaitLink(t, id, "alive", func(st *domain.LinkState) bool { return st.Latency > 0 })
	report := must[*api.InstanceStatusReport](t)(instances.Status(ctx, id))
	if report.Status != api.LiveStatusConnected || *report.Phone != number || report.ConnectedAt == nil || report.LastSeenAt == nil ||
		report.StatusReason != nil || report.QRCode != nil || report.Health.Latency == nil {
		t.Errorf("status %+v", report)
	}
	page := must[*api.Page[api.Instance]](t)(instances.List(ctx, api.ListInstancesParams{Status: api.InstanceStatusFilterConnected}))
	if len(page.Data) != 1 || page.Data[0].ID != id || *page.Data[0].Phone != number {
		t.Errorf("connected instances: %+v", page.Data)
	}
	_, err := instances.Connect(ctx, id, api.ConnectInstance{})
	wantCode(t, err, http.StatusConflict, api.ErrorCodeAlreadyConnected)
	_, err = instances.QRCode(ctx, id)
	wantCode(t, err, http.StatusConflict, api.ErrorCodeAlreadyConnected)
}

func TestConnect_ByPairingCode(t *testing.T) {
	linked(t, func(t *testing.T, wa *apitest.WhatsApp, tenant *apitest.Tenant) {
		ctx, instances := t.Context(), tenant.API.Instances
		in, phone := tenant.NewInstance(t, "Sales"), wa.Phone(t, "5511999990002")
		for _, number := range []string{"", "+5511999990002", "0511999990002", "123456", "1234567890123456", "55 11"} {
			_, err := instances.Connect(ctx, in.ID, api.ConnectInstance{Method: api.ConnectMethodPairingCode, Phone: number})
			if e := apiError(t, err, http.StatusBadRequest, api.ErrorCodeInvalidPhoneNumber); e.Details[0].Field != "phone" {
				t.Errorf("%q: %+v", number, e.Details)
			}
		}
		byCode := api.ConnectInstance{Method: api.ConnectMethodPairingCode, Phone: "5511999990002"}
		code := must[*api.ConnectResult](t)(instances.Connect(ctx, in.ID, byCode))
		if code.Status != api.LiveStatusQRPending || code.QRCode != nil || code.PairingCode == nil || len(*code.PairingCode) != len("ABCD-EFGH") {
			t.Fatalf("connect answered %+v", code)
		}
		report := must[*api.InstanceStatusReport](t)(instances.Status(ctx, in.ID))
		current := must[*api.QRCode](t)(instances.QRCode(ctx, in.ID))
		if report.Status != api.LiveStatusQRPending || report.QRCode != nil || *current.PairingCode != *code.PairingCode {
			t.Errorf("status %+v, code %+v", report, current)
		}
		if err := phone.TypeCode(ctx, *code.PairingCode); err != nil {
			t.Fatal(err)
		}
		tenant.Await(t, in.ID, domain.StatusConnected)
		checkConnected(t, tenant, in.ID, "5511999990002")
	})
}

// Who changes their mind about the method gets the other kind of code.
func TestConnect_InAnotherWay(t *testing.T) {
	linked(t, func(t *testing.T, wa *apitest.WhatsApp, tenant *apitest.Tenant) {
		ctx, instances := t.Context(), tenant.API.Instances
		in := tenant.NewInstance(t, "Sales")
		wa.Phone(t, "5511999990003")
		byCode := api.ConnectInstance{Method: api.ConnectMethodPairingCode, Phone: "5511999990003"}
		for range 2 {
			if code := must[*api.ConnectResult](t)(instances.Connect(ctx, in.ID, api.ConnectInstance{})); code.QRCode == nil || code.PairingCode != nil {
				t.Errorf("by QR code: %+v", code)
			}
			if code := must[*api.ConnectResult](t)(instances.Connect(ctx, in.ID, byCode)); code.QRCode != nil || code.PairingCode == nil {
				t.Errorf("by pairing code: %+v", code)
			}
		}
	})
}

func TestQRCode_AsPicture(t *testing.T) {
	linked(t, func(t *testing.T, _ *apitest.WhatsApp, tenant *apitest.Tenant) {
		in := tenant.NewInstance(t, "Sales")
		from, path := bearer(t, tenant.Server, tenant.Key), "/v1/instances/"+in.ID+"/qrcode"
		from.do(t, "GET", path, nil, "Accept", "image/png").is(t, http.StatusConflict, "instance_not_connected", "")
		code := must[*api.ConnectResult](t)(tenant.API.Instances.Connect(t.Context(), in.ID, api.ConnectInstance{}))
		for accept, want := range map[string]string{
			"image/png": "image/png", "image/avif,image/png,*/*;q=0.8": "image/png",
			"": "application/json", "*/*": "application/json", "application/json, image/png": "application/json", "text/html": "application/json",
		} {
			a := from.do(t, "GET", path, nil, "Accept", accept)
			if got := a.Header.Get("Content-Type"); a.Status != http.StatusOK || got != want || !strings.Contains(strings.Join(a.Header.Values("Vary"), ","), "Accept") {
				t.Errorf("Accept %q: %d %s, Vary %q", accept, a.Status, got, a.Header.Values("Vary"))
			}
			if want == "image/png" {
				checkPicture(t, a.Body, *code.QRText)
			}
		}
	})
}

// Disconnecting ends the pairing at the phone, too; the next connection takes another code.
func TestDisconnect(t *testing.T) {
	linked(t, func(t *testing.T, wa *apitest.WhatsApp, tenant *apitest.Tenant) {
		ctx, instances := t.Context(), tenant.API.Instances
		in, phone := tenant.NewConnected(t, wa, "5511999990004")
		if err := instances.Disconnect(ctx, in.ID, api.DisconnectInstance{Reason: "left"}); err != nil {
			t.Fatal(err)
		}
		report := must[*api.InstanceStatusReport](t)(instances.Status(ctx, in.ID))
		if report.Status != api.LiveStatusDisconnected || report.Phone != nil || report.ConnectedAt != nil || report.StatusReason == nil ||
			report.StatusReason.Code != "disconnected_by_user" || report.Health.Uptime != 0 || report.Health.Latency != nil {
			t.Errorf("status %+v %+v", report, report.StatusReason)
		}
		if left := phone.Devices(); len(left) != 0 {
			t.Errorf("the phone still lists %v", left)
		}
		wantCode(t, instances.Disconnect(ctx, in.ID, api.DisconnectInstance{}), http.StatusConflict, api.ErrorCodeInstanceNotConnected)
		wantCode(t, instances.Restart(ctx, in.ID), http.StatusConflict, api.ErrorCodeInstanceNotConnected)
		code := must[*api.ConnectResult](t)(instances.Connect(ctx, in.ID, api.ConnectInstance{}))
		if code.Status != api.LiveStatusQRPending || code.QRText == nil {
			t.Errorf("connect answered %+v", code)
		}
	})
}

// Restarting keeps the pairing: another connection, the same device.
func TestRestart(t *testing.T) {
	linked(t, func(t *testing.T, wa *apitest.WhatsApp, tenant *apitest.Tenant) {
		in, phone := tenant.NewConnected(t, wa, "5511999990005")
		before := wa.Connections()
		if err := tenant.API.Instances.Restart(t.Context(), in.ID); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := wa.WaitFor(ctx, func() bool {
			now := wa.Connections()
			return len(now) == 1 && now[0].Remote != before[0].Remote && now[0].Device == before[0].Device
		}); err != nil {
			t.Errorf("%v: connections %+v, were %+v", err, wa.Connections(), before)
		}
		tenant.Await(t, in.ID, domain.StatusConnected)
		if devices := phone.Devices(); len(devices) != 1 {
			t.Errorf("devices %+v", devices)
		}
	})
}

// Deleting a connected instance takes it off the phone.
func TestDelete_LogsOut(t *testing.T) {
	linked(t, func(t *testing.T, wa *apitest.WhatsApp, tenant *apitest.Tenant) {
		in, phone := tenant.NewConnected(t, wa, "5511999990006")
		if err := tenant.API.Instances.Delete(t.Context(), in.ID); err != nil {
			t.Fatal(err)
		}
		_, err := tenant.API.Instances.Status(t.Context(), in.ID)
		wantCode(t, err, http.StatusNotFound, api.ErrorCodeInstanceNotFound)
		if left := phone.Devices(); len(left) != 0 {
			t.Errorf("the phone still lists %v", left)
		}
	})
}

// A front end's token may show the code, and may not make one.
func TestConnect_NeedsItsScope(t *testing.T) {
	linked(t, func(t *testing.T, _ *apitest.WhatsApp, tenant *apitest.Tenant) {
		in := tenant.NewInstance(t, "Sales")
		reader := tenant.Client(t, tenant.NewKey(t, "instances:read"))
		_, err := reader.Instances.Connect(t.Context(), in.ID, api.ConnectInstance{})
		wantCode(t, err, http.StatusForbidden, api.ErrorCodeInsufficientPermissions)
		if code := must[*api.QRCode](t)(reader.Instances.QRCode(t.Context(), in.ID)); code.Status != api.LiveStatusDisconnected {
			t.Errorf("code %+v", code)
		}
	})
}
