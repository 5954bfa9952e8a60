package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/pkg/api"
)

// What a request about a connection may wait for its node, beyond the time for every request.
const (
	connectPatience = 10 * time.Second
	commandPatience = 5 * time.Second
)

type connectInstanceRequest struct {
	ID   string              `param:"instanceId"`
	Body api.ConnectInstance `in:"optional-body"`
}

func (s *Server) connectInstance(ctx context.Context, p *domain.Principal, req *connectInstanceRequest) (api.ConnectResult, error) {
	in, err := s.linkedInstance(ctx, p, req.ID)
	if err != nil {
		return api.ConnectResult{}, err
	}
	how := domain.PairingWish{Method: domain.PairingMethod(req.Body.Method)}
	if how.Method == domain.PairByCode {
		how.Phone = req.Body.Phone
	}
	st, err := s.deps.Connections.Connect(ctx, in.AccountID, in.ID, how)
	if err != nil {
		return api.ConnectResult{}, err
	}
	code, err := presentCode(&st)
	if err != nil {
		return api.ConnectResult{}, err
	}
	shown := code.shown
	return api.ConnectResult{Success: true, Status: shown.Status, QRCode: shown.QRCode, QRCodeExpiresAt: shown.ExpiresAt,
		QRText: shown.QRText, PairingCode: shown.PairingCode}, nil
}

// linkedInstance finds the instance that a path names, if a phone can take it as a linked device.
func (s *Server) linkedInstance(ctx context.Context, p *domain.Principal, text string) (domain.Instance, error) {
	in, _, err := s.instance(ctx, p, text)
	if err == nil && in.Integration != domain.IntegrationWeb {
		err = domain.NewError(domain.CodeOfficialAPIInstance,
			"This instance uses Meta's Cloud API, which knows no codes and no linked devices.")
	}
	return in, err
}

// getInstanceQRCode answers with JSON, or with the picture for those who accept nothing else.
func (s *Server) getInstanceQRCode() endpoint {
	asJSON := handle(s, http.StatusOK, func(ctx context.Context, p *domain.Principal, req *instanceRequest) (api.QRCodeEnvelope, error) {
		code, err := s.currentCode(ctx, p, req.ID)
		return envelope(code.shown), err
	})
	asPicture := handlePicture(s, func(ctx context.Context, p *domain.Principal, req *instanceRequest) ([]byte, error) {
		code, err := s.currentCode(ctx, p, req.ID)
		if err == nil && code.picture == nil {
			err = domain.NewError(domain.CodeInstanceNotConnected, "There is no QR code at the moment. Connect the instance first.")
		}
		return code.picture, err
	})
	return func(c echo.Context, rt *route) error {
		c.Response().Header().Add(echo.HeaderVary, echo.HeaderAccept)
		if wantsPicture(c.Request()) {
			return asPicture(c, rt)
		}
		return asJSON(c, rt)
	}
}

// wantsPicture reports whether the client prefers image/png to JSON: it names it, and does not name JSON.
func wantsPicture(r *http.Request) bool {
	accept := strings.ToLower(strings.Join(r.Header.Values(echo.HeaderAccept), ","))
	return strings.Contains(accept, "image/png") && !strings.Contains(accept, "application/json")
}

func (s *Server) currentCode(ctx context.Context, p *domain.Principal, id string) (shownCode, error) {
	in, err := s.linkedInstance(ctx, p, id)
	if err != nil {
		return shownCode{}, err
	}
	st, err := s.deps.Connections.Pairing(ctx, in.AccountID, in.ID)
	if err != nil {
		return shownCode{}, err
	}
	return presentCode(&st)
}

type disconnectInstanceRequest struct {
	ID   string                 `param:"instanceId"`
	Body api.DisconnectInstance `in:"optional-body"`
}

func (s *Server) disconnectInstance(ctx context.Context, p *domain.Principal, req *disconnectInstanceRequest) (api.Acknowledgement, error) {
	in, err := s.linkedInstance(ctx, p, req.ID)
	if err != nil {
		return api.Acknowledgement{}, err
	}
	st, err := s.deps.Connections.Disconnect(ctx, in.AccountID, in.ID)
	if err != nil {
		return api.Acknowledgement{}, err
	}
	s.log.LogAttrs(ctx, slog.LevelInfo, "instance disconnected by its owner", slog.String("account", in.AccountID.String()),
		slog.String("instance", in.ID.String()), slog.String("reason", req.Body.Reason))
	if !st.Settled || st.Status != domain.StatusDisconnected {
		return acknowledge("Instance is being disconnected"), nil
	}
	return acknowledge("Instance disconnected successfully"), nil
}

func (s *Server) restartInstance(ctx context.Context, p *domain.Principal, req *instanceRequest) (api.Acknowledgement, error) {
	in, err := s.linkedInstance(ctx, p, req.ID)
	if err != nil {
		return api.Acknowledgement{}, err
	}
	if _, err := s.deps.Connections.Restart(ctx, in.AccountID, in.ID); err != nil {
		return api.Acknowledgement{}, err
	}
	return acknowledge("Instance is restarting"), nil
}

// getInstanceStatus reports figures, not guesses: without a connection there is no uptime and no
// latency, and without sends no delivery rate.
func (s *Server) getInstanceStatus(ctx context.Context, p *domain.Principal, req *instanceRequest) (api.InstanceStatusEnvelope, error) {
	account, id, err := s.locate(p, req.ID)
	if err != nil {
		return api.InstanceStatusEnvelope{}, err
	}
	st, err := s.deps.Connections.State(ctx, p.Account.ID, id)
	if err != nil {
		return api.InstanceStatusEnvelope{}, err
	}
	in, err := account.Instance(ctx, id) // read last: what it says of the connection is newer
	if err != nil {
		return api.InstanceStatusEnvelope{}, err
	}
	report, err := s.presentStatus(&in, &st)
	return envelope(report), err
}

func (s *Server) presentStatus(in *domain.Instance, st *domain.LinkState) (api.InstanceStatusReport, error) {
	i := presentInstance(in)
	report := api.InstanceStatusReport{
		ID: i.ID, Name: i.Name, Status: api.LiveStatus(i.Status), Phone: i.Phone, ProfileName: i.ProfileName,
		ProfilePicURL: i.ProfilePicURL, LastSeenAt: i.LastSeenAt, ConnectedAt: i.ConnectedAt, StatusReason: i.StatusReason,
	}
	switch {
	case in.Status == domain.StatusConnected && !in.ConnectedAt.IsZero():
		report.Health.Uptime = max(0, int64(s.now().Sub(in.ConnectedAt)/time.Second))
		if st.Latency > 0 {
			report.Health.Latency = new(st.Latency.Milliseconds())
		}
	case in.Status == domain.StatusConnecting && st.Status == domain.StatusQRPending:
		code, err := presentCode(st)
		if err != nil {
			return api.InstanceStatusReport{}, err
		}
		report.Status = code.shown.Status
		if code.shown.QRCode != nil {
			report.QRCode, report.QRCodeExpiresAt = code.shown.QRCode, code.shown.ExpiresAt
		}
	}
	return report, nil
}
