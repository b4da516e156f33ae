package imapproxy

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"strings"
	"sync"

	"golang.org/x/crypto/cryptobyte"

	"github.com/postseal/postseal/internal/facts"
	"github.com/postseal/postseal/smime"
)

// A fact is what was decided of a message the first time that it was looked at.
type fact struct {
	// plain says that the message is shown as it is: there is no S/MIME in it.
	plain bool
	// opened says that its layers were taken off.
	opened bool
	// status is the verdict in a word of RFC 9219, and verdict are the header fields
	// that say so.
	status  smime.Status
	verdict []byte
	// size and digest are those of the rendering, in octets and by SHA-256.
	size   int64
	digest [sha256.Size]byte
	// views are items as they stand in an answer, by the index of viewItems; nil for
	// what is too big to be kept.
	views [len(viewItems)][]byte
}

// viewItems are the items whose answers are remembered.
var viewItems = [...]string{"ENVELOPE", "BODY", "BODYSTRUCTURE", "PREVIEW"}

// maxViews bounds what is remembered of the answers for a message, in octets.
const maxViews = 32 << 10

// view returns how an item is answered, nil when that is not remembered.
func (f *fact) view(it *item) []byte {
	for i, name := range viewItems {
		if it.name == name && !it.bracket {
			return f.views[i]
		}
	}
	return nil
}

// answers reports whether an item can be answered without the message.
func (f *fact) answers(it *item) bool {
	return it.name == "RFC822.SIZE" || f.view(it) != nil
}

// addViews remembers how a message is answered.
func (f *fact) addViews(m *shown) error {
	left := maxViews
	for i, name := range viewItems {
		var b bytes.Buffer
		w := bufio.NewWriter(&b)
		if err := m.write(w, &item{name: name}); err != nil {
			return err
		}
		if err := w.Flush(); err != nil {
			return err
		}
		if b.Len() > left {
			continue
		}
		left -= b.Len()
		f.views[i] = b.Bytes()
	}
	return nil
}

// digestOf returns the SHA-256 of a message.
func digestOf(src io.ReaderAt, size int64) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	br := newBuffered(io.NewSectionReader(src, 0, size))
	defer release(br)
	if _, err = br.WriteTo(h); err == nil {
		h.Sum(sum[:0])
	}
	return sum, err
}

// factVersion is of the form of what is sealed.
const factVersion = 1

// marshal returns a fact that is not plain.
func (f *fact) marshal() ([]byte, error) {
	var b cryptobyte.Builder
	b.AddUint8(factVersion)
	var opened uint8
	if f.opened {
		opened = 1
	}
	b.AddUint8(opened)
	b.AddUint64(uint64(f.size))
	b.AddBytes(f.digest[:])
	for _, part := range append([][]byte{[]byte(f.status), f.verdict}, f.views[:]...) {
		b.AddUint32LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(part) })
	}
	return b.Bytes()
}

func unmarshalFact(data []byte) (*fact, bool) {
	f := &fact{}
	s := cryptobyte.String(data)
	var version, opened uint8
	var size uint64
	if !s.ReadUint8(&version) || version != factVersion || !s.ReadUint8(&opened) || !s.ReadUint64(&size) || size > 1<<62 || !s.CopyBytes(f.digest[:]) {
		return nil, false
	}
	f.opened, f.size = opened == 1, int64(size)
	parts := make([][]byte, 2+len(f.views))
	for i := range parts {
		var n uint32
		var part []byte
		if !s.ReadUint32(&n) || !s.ReadBytes(&part, int(n)) {
			return nil, false
		}
		if n > 0 {
			parts[i] = part
		}
	}
	f.status, f.verdict = smime.Status(parts[0]), parts[1]
	copy(f.views[:], parts[2:])
	return f, s.Empty()
}

// processKey is for facts that nobody is to read when this process has ended.
var processKey = sync.OnceValue(func() []byte {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // it never fails
	return key
})

// newSealer returns what facts of an account are sealed with.
func newSealer(secret []byte, account string) (cipher.AEAD, error) {
	if secret == nil {
		secret = processKey()
	}
	key, err := hkdf.Key(sha256.New, secret, nil, "postseal facts about mail of "+account, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// about is what a sealed fact is bound to: one cannot be put in another's place.
func about(m facts.Mailbox, uid uint32) []byte {
	out := binary.BigEndian.AppendUint32(nil, uid)
	out = binary.BigEndian.AppendUint32(out, m.Validity)
	return append(out, strings.Join([]string{m.Server, m.Account, m.Name}, "\x00")...)
}

// mailboxKey names the selected mailbox.
func (s *session) mailboxKey() facts.Mailbox {
	m := s.selected()
	return facts.Mailbox{Server: s.p.Server, Account: s.account, Name: m.name, Validity: m.validity}
}

// kept returns where facts of the selected mailbox are kept: for this connection
// alone, when the server does not say what a UID means on the next one.
func (s *session) kept() (facts.Store, *cache) {
	if m := s.selected(); s.p.Facts == nil || m.validity == 0 || m.fleeting {
		if s.own == nil {
			s.own = facts.NewMemory()
		}
		return s.own, &s.ownCache
	}
	if s.p.base != nil {
		return s.p.Facts, &s.p.base.cache
	}
	return s.p.Facts, &s.p.cache
}

// forget forgets what was decided of messages.
func (s *session) forget(uids []uint32) error {
	if len(uids) == 0 {
		return nil
	}
	memory, held := s.kept()
	held.drop(s.mailboxKey(), uids)
	return memory.Forget(s.ctx, s.mailboxKey(), uids)
}

// recall fills in what is known of messages. What cannot be read, since it was
// sealed by a process that has ended, is forgotten.
func (s *session) recall(targets []*target) error {
	box := s.mailboxKey()
	memory, held := s.kept()
	held.get(box, targets)
	var uids []uint32
	for _, t := range targets {
		if t.fact == nil {
			uids = append(uids, t.uid)
		}
	}
	if len(uids) == 0 {
		return nil
	}
	known, err := memory.Get(s.ctx, box, uids)
	if err != nil {
		return err
	}
	var lost []uint32
	for _, t := range targets {
		one, ok := known[t.uid]
		if t.fact != nil || !ok {
			continue
		}
		if t.fact, ok = s.unseal(box, t.uid, one); ok {
			held.put(box, t.uid, t.fact)
		} else {
			lost = append(lost, t.uid)
		}
	}
	return s.forget(lost)
}

var plainFact = &fact{plain: true}

func (s *session) unseal(box facts.Mailbox, uid uint32, kept facts.Fact) (*fact, bool) {
	if kept.Plain {
		return plainFact, true
	}
	data, err := s.sealer.Open(nil, nil, kept.Sealed, about(box, uid))
	if err != nil {
		return nil, false
	}
	return unmarshalFact(data)
}

// remember keeps what was decided of messages, and fills in what counts: what was
// decided first, perhaps by another connection meanwhile.
func (s *session) remember(targets []*target) error {
	if len(targets) == 0 {
		return nil
	}
	box := s.mailboxKey()
	put := make(map[uint32]facts.Fact, len(targets))
	for _, t := range targets {
		f := facts.Fact{Plain: t.fact.plain}
		if !f.Plain {
			data, err := t.fact.marshal()
			if err != nil {
				return err
			}
			f.Sealed = s.sealer.Seal(nil, nil, data, about(box, t.uid))
		}
		put[t.uid] = f
	}
	memory, held := s.kept()
	known, err := memory.Put(s.ctx, box, put)
	if err != nil {
		return err
	}
	for _, t := range targets {
		if one, ok := s.unseal(box, t.uid, known[t.uid]); ok {
			t.fact = one
		}
		held.put(box, t.uid, t.fact)
	}
	return nil
}
