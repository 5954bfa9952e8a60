package api

import (
	"context"
	"net/http"
)

// Connect pairs the instance with a phone, or opens the connection of one that is
// paired. The result holds the first code to show; follow Status or QRCode until
// the status is connected. It fails with the code already_connected when there is
// nothing to do.
func (s *InstanceService) Connect(ctx context.Context, id string, body ConnectInstance, opts ...CallOption) (*ConnectResult, error) {
	result := new(ConnectResult)
	if err := s.on(ctx, http.MethodPost, id, "/connect", body, opts, result); err != nil {
		return nil, err
	}
	return result, nil
}

// QRCode returns the code that waits for a phone. It fails with the code
// already_connected once the instance is connected.
func (s *InstanceService) QRCode(ctx context.Context, id string, opts ...CallOption) (*QRCode, error) {
	var envelope QRCodeEnvelope
	if err := s.on(ctx, http.MethodGet, id, "/qrcode", nil, opts, &envelope); err != nil {
		return nil, err
	}
	return &envelope.Data, nil
}

// Disconnect logs the instance out at WhatsApp and forgets its pairing. It fails
// with the code instance_not_connected when there is nothing to end.
func (s *InstanceService) Disconnect(ctx context.Context, id string, body DisconnectInstance, opts ...CallOption) error {
	return s.on(ctx, http.MethodPost, id, "/disconnect", body, opts, new(Acknowledgement))
}

// Restart drops the connection and opens it again with the same pairing.
func (s *InstanceService) Restart(ctx context.Context, id string, opts ...CallOption) error {
	return s.on(ctx, http.MethodPost, id, "/restart", nil, opts, new(Acknowledgement))
}

// Proxy returns the proxy that the connection goes through, its password hidden.
func (s *InstanceService) Proxy(ctx context.Context, id string, opts ...CallOption) (*Proxy, error) {
	return s.proxy(ctx, http.MethodGet, id, nil, opts)
}

// SetProxy sends the connection through a proxy (http, https or socks5) from now
// on, and returns it with its password hidden.
func (s *InstanceService) SetProxy(ctx context.Context, id string, body SetProxy, opts ...CallOption) (*Proxy, error) {
	return s.proxy(ctx, http.MethodPut, id, body, opts)
}

// RemoveProxy makes the connection direct.
func (s *InstanceService) RemoveProxy(ctx context.Context, id string, opts ...CallOption) error {
	return s.on(ctx, http.MethodDelete, id, "/proxy", nil, opts, new(Acknowledgement))
}

func (s *InstanceService) proxy(ctx context.Context, method, id string, body any, opts []CallOption) (*Proxy, error) {
	var envelope ProxyEnvelope
	if err := s.on(ctx, method, id, "/proxy", body, opts, &envelope); err != nil {
		return nil, err
	}
	return &envelope.Data, nil
}

// on makes a call about a part of one instance.
func (s *InstanceService) on(ctx context.Context, method, id, part string, body any, opts []CallOption, out any) error {
	path, err := objectPath(instancesPath, id)
	if err != nil {
		return err
	}
	return s.client.do(ctx, call{method: method, path: path + part, body: body}, opts, out)
}
