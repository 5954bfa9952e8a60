package app

import (
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/fakewa"
)

// This file holds the sample instances: those on the two pages of documentation that the contract
// starts from, so that every example there can be tried against dev. Those that are connected there, are
// paired with the phones of their numbers.

// accounts are the sample's accounts, with the ids that were chosen.
func (s *Sample) accounts(now time.Time) ([]domain.Account, error) {
	accounts := []domain.Account{
		{Name: "Sample account"}, {Name: "Sample partner", Partner: true}, {Name: "Sample child one"}, {Name: "Sample child two"},
	}
	for i, text := range append([]string{s.AccountID, s.PartnerID}, s.ChildIDs...) {
		id, err := domain.ParsePrefixed(domain.PrefixAccount, text)
		if err != nil {
			return nil, err
		}
		a := &accounts[i]
		a.ID, a.Plan, a.Status = id, "pro", domain.AccountActive
		a.CreatedAt, a.UpdatedAt = now, now
		if i > 1 {
			a.ParentID = accounts[1].ID
		}
	}
	return accounts, nil
}

// sampleInstance is an instance and the account (acct_…) that has it.
type sampleInstance struct {
	owner string
	domain.Instance
}

// instances are the sample's instances, without ids.
func (s *Sample) instances() (all []sampleInstance) {
	add := func(owner string, list []domain.Instance) {
		for _, in := range list {
			all = append(all, sampleInstance{owner, in})
		}
	}
	add(s.AccountID, listPageInstances())
	add(s.ChildIDs[0], fetchPageInstances())
	add(s.ChildIDs[1], childInstances())
	return all
}

// samplePhones are the phones of the connected instances, and two that are free.
func samplePhones() []fakewa.AccountOptions {
	phones := []fakewa.AccountOptions{
		{Phone: "5511955555555", PushName: "Ana", About: "Hey there! I am using WhatsApp."},
		{Phone: "5521944444444", PushName: "Bruno", About: "At work"},
	}
	for _, in := range append(listPageInstances(), fetchPageInstances()...) {
		if in.Phone != "" {
			phones = append(phones, fakewa.AccountOptions{
				Phone: in.Phone, PushName: in.ProfileName, About: in.ProfileStatus, PictureURL: in.ProfilePicURL,
			})
		}
	}
	return phones
}

// sampleContacts are people to exchange messages with.
func sampleContacts() []fakewa.ContactOptions {
	return []fakewa.ContactOptions{
		{Phone: "5511933333333", Name: "Carla"},
		{Phone: "5531922222222", Name: "Diego", ByLID: true},
		{Phone: "351912345678", Name: "Elisa"},
	}
}

func at(month time.Month, day, hour, minute int) time.Time {
	return time.Date(2026, month, day, hour, minute, 0, 0, time.UTC)
}

// listPageInstances are the instances of the "List Instances" page.
func listPageInstances() []domain.Instance {
	const webhook, picture = "https://myapp.com/webhooks/whatsapp", "https://pps.whatsapp.net/v/t61.24694-24/..."
	return []domain.Instance{
		{
			Name: "Sales WhatsApp", Phone: "5511999999999", ProfileName: "Sales Team", ProfilePicURL: picture,
			Desired: domain.DesiredConnected, Status: domain.StatusConnected, WebhookURL: webhook, AutoTyping: true,
			CreatedAt: at(time.January, 1, 10, 0), UpdatedAt: at(time.February, 1, 8, 30),
			ConnectedAt: at(time.February, 1, 8, 30), LastSeenAt: at(time.February, 3, 12, 0),
		},
		{
			Name: "Support WhatsApp", Phone: "5521988888888", ProfileName: "Support Team", ProfilePicURL: picture,
			Desired: domain.DesiredConnected, Status: domain.StatusConnected, WebhookURL: webhook, AutoRead: true, AutoTyping: true,
			CreatedAt: at(time.January, 15, 14, 30), UpdatedAt: at(time.January, 15, 14, 35),
			ConnectedAt: at(time.January, 15, 14, 35), LastSeenAt: at(time.February, 3, 11, 45),
		},
		{
			Name: "Marketing WhatsApp", Desired: domain.DesiredDisconnected, Status: domain.StatusDisconnected,
			Reason:    domain.ReasonLoggedOut,
			CreatedAt: at(time.February, 1, 9, 0), UpdatedAt: at(time.February, 2, 18, 30), LastSeenAt: at(time.February, 2, 18, 30),
		},
	}
}

// fetchPageInstances are the instances of the "fetchInstances" page.
func fetchPageInstances() []domain.Instance {
	return []domain.Instance{
		{
			Name: "my-instance", Phone: "5511977777777", ProfileName: "My Business", ProfilePicURL: "https://example.com/profile.jpg",
			ProfileStatus: "Available 24/7", Desired: domain.DesiredConnected, Status: domain.StatusConnected, AutoTyping: true,
			CreatedAt: time.Date(2024, time.January, 15, 10, 30, 0, 0, time.UTC), UpdatedAt: time.Date(2024, time.January, 15, 14, 25, 0, 0, time.UTC),
			ConnectedAt: time.Date(2024, time.January, 15, 10, 30, 0, 0, time.UTC), LastSeenAt: at(time.February, 3, 12, 0),
		},
		{
			Name: "second-instance", Phone: "5511966666666", ProfileName: "Support Team", ProfilePicURL: "https://example.com/support.jpg",
			ProfileStatus: "How can we help?", Desired: domain.DesiredConnected, Status: domain.StatusConnected, AutoTyping: true,
			CreatedAt: time.Date(2024, time.January, 16, 8, 15, 0, 0, time.UTC), UpdatedAt: time.Date(2024, time.January, 16, 12, 45, 0, 0, time.UTC),
			ConnectedAt: time.Date(2024, time.January, 16, 8, 15, 0, 0, time.UTC), LastSeenAt: at(time.February, 3, 12, 0),
		},
	}
}

// childInstances are those of the partner's other child.
func childInstances() []domain.Instance {
	return []domain.Instance{{
		Name: "Reception", Desired: domain.DesiredDisconnected, Status: domain.StatusDisconnected,
		Reason: domain.ReasonNeverConnected, AutoTyping: true,
		CreatedAt: at(time.January, 20, 9, 0), UpdatedAt: at(time.January, 20, 9, 0),
	}}
}
