package fakewa

import (
	"context"
	"fmt"

	"go.mau.fi/libsignal/groups"
	"go.mau.fi/libsignal/protocol"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"google.golang.org/protobuf/proto"
)

// groupCipher returns what encrypts or decrypts what a sender says in a group. The caller holds mu.
func (p *peer) groupCipher(group, sender types.JID) (*groups.SessionBuilder, *groups.GroupCipher, *protocol.SenderKeyName) {
	name := protocol.NewSenderKeyName(group.String(), sender.SignalAddress())
	builder := groups.NewGroupSessionBuilder(p.dev, store.SignalProtobufSerializer)
	return builder, groups.NewGroupCipher(builder, name, p.dev), name
}

// ownKeys is the address under which a peer keeps the keys with which it speaks itself.
func ownKeys() types.JID { return types.NewJID("0", types.HiddenUserServer) }

// encryptForGroup returns a message for all members, and the key with which they read it. The caller holds mu.
func (p *peer) encryptForGroup(ctx context.Context, group types.JID, m *waE2E.Message) (node, *waE2E.Message, error) {
	plain, err := proto.Marshal(m)
	if err != nil {
		return node{}, nil, fmt.Errorf("fakewa: marshal a message: %w", err)
	}
	builder, cipher, name := p.groupCipher(group, ownKeys())
	key, err := builder.Create(ctx, name)
	if err != nil {
		return node{}, nil, fmt.Errorf("fakewa: make a sender key: %w", err)
	}
	sealed, err := cipher.Encrypt(ctx, pad(plain))
	if err != nil {
		return node{}, nil, fmt.Errorf("fakewa: encrypt for a group: %w", err)
	}
	enc := node{Tag: "enc", Attrs: attrs{"v": "2", "type": "skmsg"}, Content: sealed.SignedSerialize()}
	return enc, &waE2E.Message{SenderKeyDistributionMessage: &waE2E.SenderKeyDistributionMessage{
		GroupID:                             proto.String(group.String()),
		AxolotlSenderKeyDistributionMessage: key.Serialize(),
	}}, nil
}

// learnSenderKey keeps the key with which the peer reads what a device says in a group.
func (p *peer) learnSenderKey(ctx context.Context, sender types.JID, m *waE2E.SenderKeyDistributionMessage) error {
	group, err := types.ParseJID(m.GetGroupID())
	if err != nil {
		return err
	}
	key, err := protocol.NewSenderKeyDistributionMessageFromBytes(m.GetAxolotlSenderKeyDistributionMessage(),
		store.SignalProtobufSerializer.SenderKeyDistributionMessage)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	builder, _, name := p.groupCipher(group, sender)
	return builder.Process(ctx, name, key)
}

// decryptFromGroup reads an enc node that a device has made for all members of a group.
func (p *peer) decryptFromGroup(ctx context.Context, group, sender types.JID, enc *node) (*waE2E.Message, error) {
	content, _ := enc.Content.([]byte)
	sealed, err := protocol.NewSenderKeyMessageFromBytes(content, store.SignalProtobufSerializer.SenderKeyMessage)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, cipher, _ := p.groupCipher(group, sender)
	plain, err := cipher.Decrypt(ctx, sealed)
	if err != nil {
		return nil, err
	}
	return parseMessage(plain)
}
