package evolution

import (
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// instance is one entry of the list, with the fields of the page in their order.
type instance struct {
	InstanceName     string           `json:"instanceName"`
	InstanceID       string           `json:"instanceId"`
	Owner            *string          `json:"owner"`
	ProfileName      *string          `json:"profileName"`
	ProfilePicURL    *string          `json:"profilePicUrl"`
	ProfileStatus    *string          `json:"profileStatus"`
	Status           string           `json:"status"`
	ConnectionStatus connectionStatus `json:"connectionStatus"`
	Integration      string           `json:"integration"`
	ServerURL        string           `json:"serverUrl"`
	APIKey           string           `json:"apikey"`
	CreatedAt        string           `json:"createdAt"`
	UpdatedAt        string           `json:"updatedAt"`
}

type connectionStatus struct {
	State        string `json:"state"`
	StatusReason int    `json:"statusReason,omitzero"` // only of a connection that ended for a known reason
}

// timeFormat is ISO 8601 with milliseconds, as JavaScript writes it.
const timeFormat = "2006-01-02T15:04:05.000Z"

// present translates an instance. token is what to show as its apikey.
func present(in *domain.Instance, serverURL, token string) instance {
	status, connection := presentStatus(in)
	return instance{
		InstanceName:     in.Name,
		InstanceID:       in.ID.String(),
		Owner:            presentOwner(in.Phone),
		ProfileName:      orNull(in.ProfileName),
		ProfilePicURL:    orNull(in.ProfilePicURL),
		ProfileStatus:    orNull(in.ProfileStatus),
		Status:           status,
		ConnectionStatus: connection,
		Integration:      presentIntegration(in.Integration),
		ServerURL:        serverURL,
		APIKey:           token,
		CreatedAt:        presentTime(in.CreatedAt),
		UpdatedAt:        presentTime(in.UpdatedAt),
	}
}

func presentStatus(in *domain.Instance) (string, connectionStatus) {
	switch in.Status {
	case domain.StatusConnected:
		return "online", connectionStatus{State: "open"}
	case domain.StatusConnecting, domain.StatusQRPending:
		return "connecting", connectionStatus{State: "connecting"}
	case domain.StatusDisconnected:
	}
	return "offline", connectionStatus{State: "close", StatusReason: statusReason(in.Reason)}
}

// statusReason returns the number that Evolution API gives a reason, 0 for none. Its clients know
// 401 as "logged out: pair again", whoever did it.
func statusReason(reason domain.ReasonCode) int {
	switch reason {
	case domain.ReasonLoggedOut, domain.ReasonDisconnectedByUser:
		return 401
	default:
		return 0
	}
}

func presentIntegration(i domain.Integration) string {
	if i == domain.IntegrationCloud {
		return "WHATSAPP-BUSINESS"
	}
	return "WHATSAPP-BAILEYS"
}

func presentOwner(phone string) *string {
	if phone == "" {
		return nil
	}
	return orNull(phone + jidSuffix)
}

func presentTime(t time.Time) string { return t.UTC().Format(timeFormat) }

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

const (
	hidden    = "********"
	maskShown = 4  // characters by which people tell tokens apart
	maskFrom  = 16 // the shortest token of which that many may be shown
)

// mask hides a token, and its length.
func mask(token string) string {
	shown := []rune(token)
	if len(shown) < maskFrom {
		return hidden
	}
	return string(shown[:maskShown]) + hidden
}
