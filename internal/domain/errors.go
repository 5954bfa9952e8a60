package domain

import (
	"errors"
	"time"
)

// Code is the machine-readable part of an error: stable, and listed in openapi.yaml.
type Code string

// The codes that answers carry. Another account's object is always reported as the not-found code
// of its kind, exactly like an id that never existed.
const (
	CodeInvalidParameters     Code = "invalid_parameters"
	CodeInvalidWebhookURL     Code = "invalid_webhook_url"
	CodeMissingAPIKey         Code = "missing_api_key"
	CodeInvalidAPIKey         Code = "invalid_api_key"
	CodeExpiredAPIKey         Code = "expired_api_key"
	CodeInsufficient          Code = "insufficient_permissions"
	CodeNotFound              Code = "not_found"
	CodeInstanceNotFound      Code = "instance_not_found"
	CodeAPIKeyNotFound        Code = "api_key_not_found" //nolint:gosec // the name of an error
	CodeAccountNotFound       Code = "account_not_found"
	CodeWebhookNotFound       Code = "webhook_not_found"
	CodeWebhookLimitReached   Code = "webhook_limit_reached"
	CodeWebhookOfInstance     Code = "webhook_of_instance"
	CodeWebhookDisabled       Code = "webhook_disabled"
	CodeDeliveryNotFound      Code = "delivery_not_found"
	CodeEventNotFound         Code = "event_not_found"
	CodeMethodNotAllowed      Code = "method_not_allowed"
	CodeInstanceLimitReached  Code = "instance_limit_reached"
	CodeExternalIDInUse       Code = "external_id_in_use"
	CodePreconditionFailed    Code = "precondition_failed"
	CodeIdempotencyInProgress Code = "idempotency_in_progress"
	CodeIdempotencyKeyReused  Code = "idempotency_key_reused"
	CodePayloadTooLarge       Code = "payload_too_large"
	CodeUnsupportedMediaType  Code = "unsupported_media_type"
	CodeRateLimitExceeded     Code = "rate_limit_exceeded"
	CodeInternal              Code = "internal_error"
	CodeUnavailable           Code = "unavailable"
)

// Detail points at one field of a request that was refused.
type Detail struct {
	Field   string // as the caller wrote it: "limit", "settings.autoRead", "X-Account-Id"
	Code    string // what rule was broken: "out_of_range", "unknown", "required", …
	Message string // what to send instead
}

// Error is a failure that a caller may see. Message and Details are safe to show to anyone; Err is
// the cause, for the operator's log only.
type Error struct {
	Code       Code
	Message    string
	Details    []Detail
	RetryAfter time.Duration // when to try again; zero when trying again will not help
	Err        error
}

// Error returns the code and message, and the cause when there is one. It is for logs.
func (e *Error) Error() string {
	s := string(e.Code) + ": " + e.Message
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the hidden cause.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf returns the code that err carries, CodeInternal when it carries none.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}

// Errorf-style constructors would invite formatting causes into messages, so there are only these two.

// NewError returns an error with a message for the caller.
func NewError(code Code, message string) *Error { return &Error{Code: code, Message: message} }

// Invalid returns a CodeInvalidParameters error about the given fields. Its message is the first
// detail's, because many clients show nothing else.
func Invalid(details ...Detail) *Error {
	e := &Error{Code: CodeInvalidParameters, Message: "The request is not valid.", Details: details}
	if len(details) > 0 {
		e.Message = "Invalid " + details[0].Field + ": " + details[0].Message
	}
	return e
}

// Unavailable returns a CodeUnavailable error that asks the caller to come back shortly.
func Unavailable(cause error) *Error {
	return &Error{
		Code:       CodeUnavailable,
		Message:    "The service cannot reach its database right now. Nothing was changed; try again in a few seconds.",
		RetryAfter: 5 * time.Second,
		Err:        cause,
	}
}

// The not-found errors are made here and nowhere else, so that an unknown id and another account's id
// cannot be told apart by their answers.

// InstanceNotFound says that there is no such instance, or none that the caller may see.
func InstanceNotFound() *Error {
	return NewError(CodeInstanceNotFound, "There is no instance with this id. List your instances to find the right one.")
}

// APIKeyNotFound says that there is no such API key, or none that the caller may see.
func APIKeyNotFound() *Error {
	return NewError(CodeAPIKeyNotFound, "There is no API key with this id. List your API keys to find the right one.")
}

// AccountNotFound says that there is no such account, or none that the caller may see.
func AccountNotFound() *Error {
	return NewError(CodeAccountNotFound, "There is no account with this id among yours. List your accounts to find the right one.")
}

// WebhookNotFound says that there is no such webhook, or none that the caller may see.
func WebhookNotFound() *Error {
	return NewError(CodeWebhookNotFound, "There is no webhook with this id. List your webhooks to find the right one.")
}

// InboundWebhookNotFound says that there is no such inbound webhook, or none that the caller may see.
func InboundWebhookNotFound() *Error {
	return NewError(CodeWebhookNotFound, "There is no inbound webhook with this id. List your inbound webhooks to find the right one.")
}

// DeliveryNotFound says that the webhook has no such delivery, or not any more.
func DeliveryNotFound() *Error {
	return NewError(CodeDeliveryNotFound, "The webhook's log has no entry with this id. List the log to find the right one; old entries are removed.")
}

// EventNotFound says that there is no such event, none that the caller may see, or not any more.
func EventNotFound() *Error {
	return NewError(CodeEventNotFound, "There is no event with this id in your account, or it is too old to be kept. Begin without it.")
}
