package store_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/store"
)

// full has a value in every field.
func full(name string) domain.Instance {
	return domain.Instance{
		Name: name, ExternalID: "ext " + name, Integration: domain.IntegrationCloud, Desired: domain.DesiredConnected,
		Status: domain.StatusConnecting, Reason: domain.ReasonLoggedOut, Phone: "5511" + fmt.Sprint(len(name)),
		ProfileName: "Profile <&> " + name, ProfilePicURL: "https://pic/" + name, ProfileStatus: "Olá 👋",
		WebhookURL: "https://hook/" + name, WebhookEvents: domain.EventMessageRead | domain.EventInstanceConnected,
		AutoRead: true, AutoTyping: true, TokenDigest: []byte("digest " + name), TokenSealed: []byte("sealed " + name),
		CreatedAt: at(0), UpdatedAt: at(1), ConnectedAt: at(2), LastSeenAt: at(3), Version: 4,
	}
}

func TestInstances_CreateAndRead(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		for name, in := range map[string]domain.Instance{"full": full("a"), "bare": {Name: "bare", CreatedAt: at(0)}} {
			if err := f.mine.CreateInstance(ctx, &in, 0); err != nil {
				t.Fatal(name, err)
			}
			if in.ID.IsZero() || in.AccountID != f.account.ID || in.CreatedAt != stored(0) || in.Version == 0 {
				t.Errorf("%s was not filled in: %+v", name, in)
			}
			same(t, name, must[domain.Instance](t)(f.mine.Instance(ctx, in.ID)), in)
			_, err := f.other.Instance(ctx, in.ID)
			wantCode(t, "another's", err, domain.CodeInstanceNotFound)
		}
		for _, id := range []domain.ID{{}, domain.NewID(at(0)), f.otherRow.ID} {
			_, err := f.mine.Instance(ctx, id)
			wantCode(t, "unknown", err, domain.CodeInstanceNotFound)
		}
	})
}

func TestInstances_ByToken(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		in := addInstance(t, f.mine, full("a"))
		addInstance(t, f.mine, domain.Instance{Name: "without a token"})
		addInstance(t, f.mine, domain.Instance{Name: "nor this one"})
		same(t, "mine", must[domain.Instance](t)(f.InstanceByToken(t.Context(), in.TokenDigest)), in)
		same(t, "other's", must[domain.Instance](t)(f.InstanceByToken(t.Context(), f.otherRow.TokenDigest)), f.otherRow)
		for what, account := range map[string]*store.Account{"twice": f.mine, "as the other account": f.other} {
			err := account.CreateInstance(t.Context(), &domain.Instance{Name: "x", TokenDigest: []byte("digest a")}, 0)
			wantCode(t, "the same token "+what, err, domain.CodeInvalidParameters)
		}
		for _, digest := range [][]byte{nil, {}, {0}, []byte("digest b"), []byte("digest")} {
			_, err := f.InstanceByToken(t.Context(), digest)
			wantCode(t, string(digest), err, domain.CodeInstanceNotFound)
		}
	})
}

func TestInstances_RetryFindsTheFirst(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		first := addInstance(t, f.mine, full("a"))
		for name, again := range map[string]domain.Instance{
			"the same": full("a"), "another one": full("b"), "a bare one": {Name: "c"},
		} {
			again.ID = first.ID
			if err := f.mine.CreateInstance(ctx, &again, 0); err != nil {
				t.Fatal(name, err)
			}
			same(t, name, again, first)
		}
		atLimit := domain.Instance{ID: first.ID, Name: "x"}
		if err := f.mine.CreateInstance(ctx, &atLimit, 1); err != nil {
			t.Errorf("at the limit: %v", err)
		}
		// Two accounts may come up with the same id.
		theirs := domain.Instance{ID: f.otherRow.ID, Name: "mine too"}
		if err := f.mine.CreateInstance(ctx, &theirs, 0); err != nil || theirs.Name != "mine too" {
			t.Errorf("another account's id: %+v, %v", theirs, err)
		}
	})
}

func TestInstances_ExternalID(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		a := addInstance(t, f.mine, domain.Instance{Name: "a", ExternalID: "same"}) // as the other account has
		b := addInstance(t, f.mine, domain.Instance{Name: "b"})
		err := f.mine.CreateInstance(ctx, &domain.Instance{Name: "c", ExternalID: "same"}, 0)
		wantCode(t, "create", err, domain.CodeExternalIDInUse)
		same(t, "where", domainError(t, err).Details[0].Field, "externalId")
		_, err = f.mine.UpdateInstance(ctx, b.ID, domain.InstancePatch{ExternalID: new("same")}, 0, at(1))
		wantCode(t, "update", err, domain.CodeExternalIDInUse)
		if _, err := f.mine.UpdateInstance(ctx, a.ID, domain.InstancePatch{ExternalID: new("")}, 0, at(2)); err != nil {
			t.Fatal(err)
		}
		if _, err := f.mine.UpdateInstance(ctx, b.ID, domain.InstancePatch{ExternalID: new("same")}, 0, at(3)); err != nil {
			t.Errorf("a reference that is free again: %v", err)
		}
	})
}

func TestInstances_Update(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		want := addInstance(t, f.mine, full("a"))
		update := func(what string, p domain.InstancePatch, ifVersion int64, when time.Time) {
			t.Helper()
			same(t, what, must[domain.Instance](t)(f.mine.UpdateInstance(ctx, want.ID, p, ifVersion, when)), want)
			same(t, what+", read", must[domain.Instance](t)(f.mine.Instance(ctx, want.ID)), want)
		}
		update("nothing", domain.InstancePatch{}, 0, at(9))
		update("the same", domain.InstancePatch{Name: &want.Name, AutoRead: &want.AutoRead}, 4, at(9))

		want.Name, want.ExternalID, want.WebhookURL, want.WebhookEvents = "Ãnew", "e", "https://w", domain.EventMessageFailed
		want.AutoRead, want.AutoTyping, want.UpdatedAt, want.Version = false, false, stored(10), 5
		update("everything", domain.InstancePatch{
			Name: &want.Name, ExternalID: &want.ExternalID, WebhookURL: &want.WebhookURL,
			WebhookEvents: &want.WebhookEvents, AutoRead: &want.AutoRead, AutoTyping: &want.AutoTyping,
		}, 4, at(10))
		same(t, "the new name is found", page(t, f.mine, domain.InstanceFilter{Search: "ãNEW"}, 5), []string{"Ãnew"})

		want.ExternalID, want.WebhookURL, want.UpdatedAt, want.Version = "", "", stored(11), 6
		update("cleared", domain.InstancePatch{ExternalID: new(""), WebhookURL: new("")}, 5, at(11))

		_, err := f.mine.UpdateInstance(ctx, want.ID, domain.InstancePatch{Name: new("x")}, 5, at(12))
		wantCode(t, "an old version", err, domain.CodePreconditionFailed)
		for _, id := range []domain.ID{{}, domain.NewID(at(0)), f.otherRow.ID} {
			_, err := f.mine.UpdateInstance(ctx, id, domain.InstancePatch{Name: new("x")}, 0, at(12))
			wantCode(t, "unknown", err, domain.CodeInstanceNotFound)
			_, err = f.mine.UpdateInstance(ctx, id, domain.InstancePatch{}, 0, at(12))
			wantCode(t, "unknown, empty patch", err, domain.CodeInstanceNotFound)
		}
		update("in the end", domain.InstancePatch{}, 0, at(13))
	})
}

func TestInstances_Delete(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		in := addInstance(t, f.mine, full("a"))
		_, err := f.mine.DeleteInstance(ctx, in.ID, 3)
		wantCode(t, "an old version", err, domain.CodePreconditionFailed)
		f.checkCounts(t)
		same(t, "deleted", must[domain.Instance](t)(f.mine.DeleteInstance(ctx, in.ID, 4)), in)
		for _, id := range []domain.ID{in.ID, {}, f.otherRow.ID} {
			_, err = f.mine.DeleteInstance(ctx, id, 0)
			wantCode(t, "gone", err, domain.CodeInstanceNotFound)
		}
		nobody := must[*store.Account](t)(f.Account(domain.NewID(at(0))))
		_, err = nobody.DeleteInstance(ctx, in.ID, 0)
		wantCode(t, "no account", err, domain.CodeInstanceNotFound)
	})
}

func TestInstances_Limit(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		for i, want := range []domain.Code{"", "", domain.CodeInstanceLimitReached} {
			err := f.mine.CreateInstance(ctx, &domain.Instance{Name: fmt.Sprint(i)}, 2)
			if want == "" && err != nil || want != "" && domain.CodeOf(err) != want {
				t.Errorf("instance %d of 2: %v", i+1, err)
			}
		}
		wantCode(t, "a lower limit", f.mine.CreateInstance(ctx, &domain.Instance{Name: "x"}, 1), domain.CodeInstanceLimitReached)
		addInstance(t, f.mine, domain.Instance{Name: "no limit"})
	})
}

func TestInstances_LimitHoldsWhenManyCreate(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		_, children := f.addPartner(t)
		const limit = 7
		var made atomic.Int32
		var calls sync.WaitGroup
		for i := range 30 {
			calls.Go(func() {
				err := children[0].CreateInstance(t.Context(), &domain.Instance{Name: fmt.Sprint(i)}, limit)
				switch {
				case err == nil:
					made.Add(1)
				case domain.CodeOf(err) != domain.CodeInstanceLimitReached:
					t.Error(err)
				}
			})
		}
		calls.Wait()
		if n := len(page(t, children[0], domain.InstanceFilter{}, 100)); n != limit || made.Load() != limit {
			t.Errorf("%d instances, %d calls succeeded, the limit is %d", n, made.Load(), limit)
		}
	})
}

// Values that PostgreSQL refuses are the caller's mistake, on SQLite too, and never a failure of ours.
func TestUnstorable(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		in := addInstance(t, f.mine, domain.Instance{Name: "a"})
		for _, bad := range []string{"a\x00b", "\xff\xfe", "\xed\xa0\x80", strings.Repeat("é", 513)} {
			indexed := []func() error{
				func() error { return f.mine.CreateInstance(ctx, &domain.Instance{Name: bad}, 0) },
				func() error { return f.mine.CreateInstance(ctx, &domain.Instance{Name: "a", ExternalID: bad}, 0) },
				func() error { return f.mine.CreateInstance(ctx, &domain.Instance{Name: "a", Phone: bad}, 0) },
				func() error {
					_, err := f.mine.UpdateInstance(ctx, in.ID, domain.InstancePatch{Name: &bad}, 0, at(0))
					return err
				},
				func() error {
					return f.mine.SetInstanceStates(ctx, []domain.InstanceState{{ID: in.ID, Phone: &bad}})
				},
				func() error { return f.CreateAccount(ctx, &domain.Account{Name: bad}) },
				func() error { _, err := f.mine.Update(ctx, domain.AccountPatch{Name: &bad}, at(0)); return err },
				func() error {
					_, err := f.mine.Update(ctx, domain.AccountPatch{AllowedOrigins: &[]string{bad}}, at(0))
					return err
				},
				func() error {
					return f.mine.CreateAPIKey(ctx, &domain.APIKey{Name: bad, Lookup: "x", Digest: []byte{1}})
				},
				func() error {
					_, err := f.mine.ClaimIdempotency(ctx, domain.IdempotencyClaim{Key: bad})
					return err
				},
			}
			free := []func() error{
				func() error { return f.mine.CreateInstance(ctx, &domain.Instance{Name: "a", WebhookURL: bad}, 0) },
				func() error {
					return f.mine.SetInstanceStates(ctx, []domain.InstanceState{{ID: in.ID, ProfileName: &bad}})
				},
				func() error { return readPage(t, f, domain.InstanceFilter{Search: bad}) },
				func() error { return readPage(t, f, domain.InstanceFilter{ExternalID: bad}) },
				func() error { return readPage(t, f, domain.InstanceFilter{Name: bad}) },
				func() error { return readPage(t, f, domain.InstanceFilter{Phone: bad}) },
				func() error { return readPage(t, f, domain.InstanceFilter{Status: domain.Status(bad)}) },
				func() error {
					return f.mine.StreamInstances(ctx, domain.InstanceFilter{Search: bad}, nil, nil)
				},
			}
			for i, call := range indexed {
				wantCode(t, fmt.Sprintf("%.10q in indexed field %d", bad, i), call(), domain.CodeInvalidParameters)
			}
			for i, call := range free {
				if err := call(); len(bad) < 10 {
					wantCode(t, fmt.Sprintf("%.10q in free field %d", bad, i), err, domain.CodeInvalidParameters)
				} else if err != nil {
					t.Errorf("%.10q in free field %d: %v", bad, i, err)
				}
			}
		}
		ids := make([]domain.ID, 10_001)
		wantCode(t, "too many ids", readPage(t, f, domain.InstanceFilter{IDs: ids}), domain.CodeInvalidParameters)
	})
}

func readPage(t *testing.T, f *fixture, filter domain.InstanceFilter) error {
	_, err := f.mine.EachInstance(t.Context(), filter, domain.PageRequest{Limit: 1}, ignore)
	return err
}
