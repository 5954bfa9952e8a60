package fakewa

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

// Control returns the HTTP API for people and programs outside the process: JSON in, JSON out. It knows no
// authentication, so it belongs on an address that only they reach.
//
//	GET    /state                        everything below at once
//	GET    /connections, /stats          DELETE /stats starts counting anew
//	POST   /accounts                     AccountOptions
//	GET    /accounts/{phone}             its devices
//	PATCH  /accounts/{phone}             ProfileChange
//	POST   /accounts/{phone}/scan        {"text"} of a QR code
//	POST   /accounts/{phone}/code        {"code"} as the client shows it
//	POST   /accounts/{phone}/unlink      {"device"}
//	GET    /accounts/{phone}/messages    what the phone has got; ?after=N&wait=10s waits for more than N
//	POST   /accounts/{phone}/messages    {"to","text"} typed on the phone
//	POST   /contacts                     ContactOptions
//	GET    /contacts/{phone}/messages    what the contact has decrypted; the same parameters
//	POST   /contacts/{phone}/messages    {"to","text"}, {"to","image","mime","text"} with image in base64, {"group","text"}
//	GET    /contacts/{phone}/receipts    what clients have confirmed; the same parameters
//	POST   /contacts/{phone}/receipts    {"to","kind","ids"}
//	GET    /groups                       POST /groups takes GroupOptions
//	GET    /faults                       the standing ones
//	POST   /faults                       Fault, with a duration such as "300ms"
//	DELETE /faults                       ends them and all stalls
//	POST   /faults/{blow}                cut, close, stall, resume, stream-error or end-stream; {"phone","code","conflict"}
func (s *Server) Control() http.Handler {
	c := &control{srv: s}
	mux := http.NewServeMux()
	for pattern, serve := range map[string]func(*http.Request) (any, error){
		"GET /state":                      c.state,
		"GET /connections":                func(*http.Request) (any, error) { return s.Connections(), nil },
		"GET /stats":                      func(*http.Request) (any, error) { return s.Stats(), nil },
		"DELETE /stats":                   c.resetStats,
		"POST /accounts":                  c.addAccount,
		"GET /accounts/{phone}":           withAccount(s, func(_ *http.Request, a *Account) (any, error) { return a.info(), nil }),
		"PATCH /accounts/{phone}":         withAccount(s, changeProfile),
		"POST /accounts/{phone}/scan":     withAccount(s, scan),
		"POST /accounts/{phone}/code":     withAccount(s, typeCode),
		"POST /accounts/{phone}/unlink":   withAccount(s, unlink),
		"GET /accounts/{phone}/messages":  withAccount(s, accountMessages),
		"POST /accounts/{phone}/messages": withAccount(s, accountSends),
		"POST /contacts":                  c.addContact,
		"GET /contacts/{phone}/messages":  withContact(s, contactMessages),
		"POST /contacts/{phone}/messages": withContact(s, contactSends),
		"GET /contacts/{phone}/receipts":  withContact(s, contactReceipts),
		"POST /contacts/{phone}/receipts": withContact(s, contactConfirms),
		"GET /groups":                     func(*http.Request) (any, error) { return s.groupInfos(), nil },
		"POST /groups":                    c.addGroup,
		"GET /faults":                     func(*http.Request) (any, error) { return s.faultBodies(), nil },
		"POST /faults":                    c.addFault,
		"DELETE /faults":                  c.clearFaults,
		"POST /faults/{blow}":             c.strike,
	} {
		mux.Handle(pattern, answer(serve))
	}
	return mux
}

// control holds the operations that are about the server as a whole.
type control struct{ srv *Server }

// maxControlBody bounds what the control API reads, in bytes: an image in base64 is the largest.
const maxControlBody = 32 << 20

// answer writes what serve returns, or its error.
func answer(serve func(*http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxControlBody)
		result, err := serve(r)
		status := http.StatusOK
		if err != nil {
			status = statusOf(err)
			result = map[string]string{"error": err.Error()}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(result) // a client that has gone needs no answer
	})
}

var errBody = errors.New("fakewa: the body is not what this operation takes")

func statusOf(err error) int {
	switch {
	case errors.Is(err, ErrNobody), errors.Is(err, ErrUnknownCode), errors.Is(err, ErrNoDevice):
		return http.StatusNotFound
	case errors.Is(err, ErrWrongCode), errors.Is(err, ErrRefused), errors.Is(err, ErrTaken), errors.Is(err, ErrTooManyDevices), errors.Is(err, errGone):
		return http.StatusConflict
	case errors.Is(err, errBody), errors.Is(err, ErrFault), errors.Is(err, errPhone), errors.Is(err, errNoMembers):
		return http.StatusBadRequest
	}
	return http.StatusInternalServerError
}

// read decodes a body, strictly.
func read[T any](r *http.Request) (T, error) {
	var body T
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&body); err != nil {
		return body, fmt.Errorf("%w: %w", errBody, err)
	}
	return body, nil
}

func withAccount(s *Server, serve func(*http.Request, *Account) (any, error)) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		a, ok := s.Account(r.PathValue("phone"))
		if !ok {
			return nil, fmt.Errorf("%w: %s", ErrNobody, r.PathValue("phone"))
		}
		return serve(r, a)
	}
}

func withContact(s *Server, serve func(*http.Request, *Contact) (any, error)) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		c, ok := s.Contact(r.PathValue("phone"))
		if !ok {
			return nil, fmt.Errorf("%w: %s", ErrNobody, r.PathValue("phone"))
		}
		return serve(r, c)
	}
}

// accountInfo describes a phone.
type accountInfo struct {
	Phone    string       `json:"phone"`
	LID      string       `json:"lid"`
	PushName string       `json:"pushName,omitempty"`
	Devices  []DeviceInfo `json:"devices"`
}

func (a *Account) info() accountInfo {
	a.srv.mu.Lock()
	name := a.profile.name
	a.srv.mu.Unlock()
	return accountInfo{Phone: a.profile.phone, LID: a.profile.lidUser, PushName: name, Devices: a.Devices()}
}

// contactInfo describes a contact.
type contactInfo struct {
	Phone string `json:"phone"`
	LID   string `json:"lid"`
	Name  string `json:"name,omitempty"`
}

// groupInfo describes a group.
type groupInfo struct {
	ID      string   `json:"id"`
	Subject string   `json:"subject"`
	Members []string `json:"members"` // their numbers
}

func (s *Server) groupInfos() []groupInfo {
	list := []groupInfo{}
	for _, g := range s.Groups() {
		list = append(list, groupInfo{ID: g.id, Subject: g.subject, Members: g.Members()})
	}
	return list
}

func (c *control) addGroup(r *http.Request) (any, error) {
	o, err := read[GroupOptions](r)
	if err != nil {
		return nil, err
	}
	g, err := c.srv.AddGroup(o)
	if err != nil {
		return nil, err
	}
	return groupInfo{ID: g.id, Subject: g.subject, Members: g.Members()}, nil
}

// overview is everything at once.
type overview struct {
	Accounts    []accountInfo    `json:"accounts"`
	Contacts    []contactInfo    `json:"contacts"`
	Groups      []groupInfo      `json:"groups"`
	Connections []ConnectionInfo `json:"connections"`
	Faults      []faultBody      `json:"faults"`
	Stats       Stats            `json:"stats"`
}

func (c *control) state(*http.Request) (any, error) {
	o := overview{
		Accounts: []accountInfo{}, Contacts: []contactInfo{}, Groups: c.srv.groupInfos(),
		Connections: c.srv.Connections(), Faults: c.srv.faultBodies(), Stats: c.srv.Stats(),
	}
	for _, a := range c.srv.Accounts() {
		o.Accounts = append(o.Accounts, a.info())
	}
	for _, p := range c.srv.Contacts() {
		o.Contacts = append(o.Contacts, contactInfo{Phone: p.profile.phone, LID: p.profile.lidUser, Name: p.profile.name})
	}
	return o, nil
}

func (c *control) resetStats(*http.Request) (any, error) {
	c.srv.ResetStats()
	return done{}, nil
}

// done is the answer of operations that return nothing.
type done struct{}

func (c *control) addAccount(r *http.Request) (any, error) {
	o, err := read[AccountOptions](r)
	if err != nil {
		return nil, err
	}
	a, err := c.srv.AddAccount(o)
	if err != nil {
		return nil, err
	}
	return a.info(), nil
}

func changeProfile(r *http.Request, a *Account) (any, error) {
	change, err := read[ProfileChange](r)
	if err != nil {
		return nil, err
	}
	return a.info(), a.SetProfile(r.Context(), change)
}

func scan(r *http.Request, a *Account) (any, error) {
	body, err := read[struct{ Text string }](r)
	if err != nil {
		return nil, err
	}
	return done{}, a.ScanQR(r.Context(), body.Text)
}

func typeCode(r *http.Request, a *Account) (any, error) {
	body, err := read[struct{ Code string }](r)
	if err != nil {
		return nil, err
	}
	return done{}, a.TypeCode(r.Context(), body.Code)
}

func unlink(r *http.Request, a *Account) (any, error) {
	body, err := read[struct{ Device int }](r)
	if err != nil {
		return nil, err
	}
	return done{}, a.Unlink(body.Device)
}

func accountMessages(r *http.Request, a *Account) (any, error) {
	return waitForMore(r, a.srv, a.receivedAfter)
}

func accountSends(r *http.Request, a *Account) (any, error) {
	body, err := read[struct{ To, Text string }](r)
	if err != nil {
		return nil, err
	}
	id, err := a.SendText(r.Context(), body.To, body.Text)
	return sent{id}, err
}

// sent names a message.
type sent struct {
	ID string `json:"id"`
}

func (c *control) addContact(r *http.Request) (any, error) {
	o, err := read[ContactOptions](r)
	if err != nil {
		return nil, err
	}
	p, err := c.srv.AddContact(o)
	if err != nil {
		return nil, err
	}
	return contactInfo{Phone: p.profile.phone, LID: p.profile.lidUser, Name: p.profile.name}, nil
}

func contactMessages(r *http.Request, c *Contact) (any, error) {
	return waitForMore(r, c.srv, c.receivedAfter)
}
func contactReceipts(r *http.Request, c *Contact) (any, error) {
	return waitForMore(r, c.srv, c.receiptsAfter)
}

func contactSends(r *http.Request, c *Contact) (any, error) {
	body, err := read[struct {
		To, Group, Text, MIME string
		Image                 []byte
	}](r)
	if err != nil {
		return nil, err
	}
	var id string
	switch {
	case body.Group != "":
		g, ok := c.srv.Group(body.Group)
		if !ok {
			return nil, fmt.Errorf("%w: group %s", ErrNobody, body.Group)
		}
		id, err = c.SendToGroup(r.Context(), g, body.Text)
	case body.Image != nil:
		id, err = c.SendImage(r.Context(), body.To, Image{Data: body.Image, MIME: body.MIME, Caption: body.Text})
	default:
		id, err = c.SendText(r.Context(), body.To, body.Text)
	}
	return sent{id}, err
}

func contactConfirms(r *http.Request, c *Contact) (any, error) {
	body, err := read[struct {
		To   string
		Kind ReceiptKind
		IDs  []string
	}](r)
	if err != nil {
		return nil, err
	}
	return done{}, c.Receipt(body.To, body.Kind, body.IDs...)
}

// faultBody is a Fault as people write it.
type faultBody struct {
	Fault
	Duration string `json:"duration,omitempty"`
}

func (s *Server) faultBodies() []faultBody {
	list := []faultBody{}
	for _, f := range s.Faults().List() {
		body := faultBody{Fault: f}
		if f.Duration > 0 {
			body.Duration = f.Duration.String()
		}
		list = append(list, body)
	}
	return list
}

func (c *control) addFault(r *http.Request) (any, error) {
	body, err := read[faultBody](r)
	if err != nil {
		return nil, err
	}
	if body.Duration != "" {
		if body.Fault.Duration, err = time.ParseDuration(body.Duration); err != nil {
			return nil, fmt.Errorf("%w: %w", errBody, err)
		}
	}
	return done{}, c.srv.Faults().Add(body.Fault)
}

func (c *control) clearFaults(*http.Request) (any, error) {
	c.srv.Faults().Clear()
	return done{}, nil
}

// struck tells how many connections something was done to.
type struck struct {
	Connections int `json:"connections"`
}

func (c *control) strike(r *http.Request) (any, error) {
	body, err := read[struct {
		Phone, Conflict string
		Code            int
	}](r)
	if err != nil {
		return nil, err
	}
	f := c.srv.Faults()
	code := ""
	if body.Code != 0 {
		code = decimal(uint64(body.Code))
	}
	switch blow := r.PathValue("blow"); blow {
	case "cut":
		return struck{f.Cut(body.Phone)}, nil
	case "close":
		return struck{f.CloseFrame(body.Phone, websocket.StatusCode(max(body.Code, int(websocket.StatusNormalClosure))))}, nil
	case "stall":
		return struck{f.Stall(body.Phone)}, nil
	case "resume":
		return struck{f.Resume(body.Phone)}, nil
	case "stream-error":
		return struck{f.StreamError(body.Phone, code, body.Conflict)}, nil
	case "end-stream":
		return struck{f.EndStream(body.Phone)}, nil
	default:
		return nil, fmt.Errorf("%w: %q", ErrFault, blow)
	}
}
