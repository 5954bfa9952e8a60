package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"strings"

	"github.com/pombal-api/pombal/internal/domain"
)

// classify says why an exchange failed.
func classify(err error) domain.FailureCode {
	var name *net.DNSError
	switch {
	case errors.Is(err, errBlocked):
		return domain.FailureBlocked
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return domain.FailureTimeout
	case errors.As(err, &name):
		return domain.FailureName
	case isTLS(err):
		return domain.FailureTLS
	case isNotHTTP(err):
		return domain.FailureUnsupported
	case isTimeout(err):
		return domain.FailureTimeout
	}
	return domain.FailureRefused
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func isTLS(err error) bool {
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var invalid x509.CertificateInvalidError
	var host x509.HostnameError
	var authority x509.UnknownAuthorityError
	if errors.As(err, &certificate) || errors.As(err, &record) || errors.As(err, &alert) ||
		errors.As(err, &invalid) || errors.As(err, &host) || errors.As(err, &authority) {
		return true
	}
	// What the other side complains of, and what versions do not agree on, has no type.
	text := err.Error()
	return strings.Contains(text, "tls: ") || strings.Contains(text, "gave HTTP response to HTTPS")
}

// isNotHTTP tells answers that net/http could not read. Its errors have no types.
func isNotHTTP(err error) bool {
	text := err.Error()
	for _, part := range []string{"malformed ", "invalid header", "bad Content-Length", "transfer encoding",
		"server response headers exceeded", "too many 1xx", "chunk"} {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}
