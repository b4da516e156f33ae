package pkcs11

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/big"
	"sync"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/keystore"
)

// A fake is a module with tokens in memory, which can be taken out, and which
// can be made to lack what real ones lack.
type fake struct {
	mu       sync.Mutex
	tokens   map[uint]*fakeToken // by slot
	sessions map[handle]*fakeSession
	next     handle

	initialized, initializations, finalizations int
	logins                                      int // that reached the token
	raw                                         bool
	lacks                                       map[uint]bool // mechanisms
	noPublic                                    bool          // private keys for elliptic curves do not show their points
	octetPoint                                  bool          // key agreement wants an OCTET STRING
	fault                                       bool          // signatures are wrong
}

type fakeToken struct {
	info     TokenInfo
	flags    uint
	pin      string
	tries    int
	loggedIn bool
	objects  map[object]*fakeObject
	next     object
}

type fakeObject struct {
	attrs map[uint][]byte
	key   crypto.PrivateKey
}

type fakeSession struct {
	slot    uint
	key     *fakeObject
	m       mechanism
	context bool // logged in for the operation
}

const fakePIN = "4711"

func newFake() *fake {
	return &fake{tokens: make(map[uint]*fakeToken), sessions: make(map[handle]*fakeSession), next: 1, lacks: make(map[uint]bool), raw: true}
}

// insert puts a token into a slot.
func (f *fake) insert(slot uint, label string) *fakeToken {
	t := &fakeToken{info: TokenInfo{Label: label, Serial: label + "1", Manufacturer: "Fake", Model: "F"},
		flags: ckfTokenInitialized | ckfLoginRequired, pin: fakePIN, tries: 3, objects: make(map[object]*fakeObject), next: 1}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tokens[slot] = t
	return t
}

// move takes a token out of a slot, and puts it into another if to is not 0.
func (f *fake) move(from, to uint) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.tokens[from]
	delete(f.tokens, from)
	for h, s := range f.sessions {
		if s.slot == from {
			delete(f.sessions, h)
		}
	}
	t.loggedIn = false
	// Handles are other ones afterwards.
	objects := make(map[object]*fakeObject)
	for o, content := range t.objects {
		objects[o+100] = content
	}
	t.objects = objects
	if to != 0 {
		f.tokens[to] = t
	}
}

func ulong(n uint) []byte { return binary.NativeEndian.AppendUint64(nil, uint64(n)) }

func (t *fakeToken) add(o *fakeObject) {
	t.objects[t.next] = o
	t.next++
}

func (t *fakeToken) addCert(label string, id []byte, cert *x509.Certificate) {
	t.add(&fakeObject{attrs: map[uint][]byte{ckaClass: ulong(ckoCertificate), ckaLabel: []byte(label), ckaID: id, ckaValue: cert.Raw}})
}

// addKey adds a private key, and for elliptic curves the public one.
func (t *fakeToken) addKey(tb testing.TB, label string, id []byte, key crypto.PrivateKey, always bool) {
	tb.Helper()
	attrs := map[uint][]byte{ckaClass: ulong(ckoPrivateKey), ckaLabel: []byte(label), ckaID: id, ckaAlwaysAuthenticate: {0}}
	if always {
		attrs[ckaAlwaysAuthenticate] = []byte{1}
	}
	kind, params, point := ecAttributes(tb, key)
	attrs[ckaKeyType] = ulong(kind)
	if k, ok := key.(*rsa.PrivateKey); ok {
		attrs[ckaModulus], attrs[ckaPublicExponent] = k.N.Bytes(), big.NewInt(int64(k.E)).Bytes()
	} else {
		attrs[ckaECParams] = params
		t.add(&fakeObject{attrs: map[uint][]byte{ckaClass: ulong(ckoPublicKey), ckaKeyType: ulong(kind), ckaLabel: []byte(label),
			ckaID: id, ckaECParams: params, ckaECPoint: point}})
	}
	t.add(&fakeObject{attrs, key})
}

// ecAttributes returns CKA_KEY_TYPE, CKA_EC_PARAMS and CKA_EC_POINT of a key.
func ecAttributes(tb testing.TB, key crypto.PrivateKey) (kind uint, params, point []byte) {
	tb.Helper()
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			tb.Fatal(err)
		}
		return b
	}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return ckkRSA, nil, nil
	case *ecdsa.PrivateKey:
		kind = ckkEC
		params = unhex(map[elliptic.Curve]string{elliptic.P256(): "06082a8648ce3d030107", elliptic.P384(): "06052b81040022", elliptic.P521(): "06052b81040023"}[k.Curve])
		var err error
		if point, err = k.PublicKey.Bytes(); err != nil {
			tb.Fatal(err)
		}
	case ed25519.PrivateKey:
		kind, params, point = ckkEdwards, unhex("06032b6570"), k.Public().(ed25519.PublicKey)
	case *ecdh.PrivateKey:
		kind, params, point = ckkMontgomery, unhex("06032b656e"), k.PublicKey().Bytes()
	default:
		tb.Fatalf("no fake for %T", key)
	}
	return kind, params, append(octetsHeader(len(point)), point...)
}

func (f *fake) Initialize() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.initialized > 0 {
		return rvAlreadyInitialized
	}
	f.initialized++
	f.initializations++
	return nil
}

func (f *fake) Finalize() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.initialized == 0 {
		return rvCryptokiNotInitialized
	}
	f.initialized--
	f.finalizations++
	clear(f.sessions)
	for _, t := range f.tokens {
		t.loggedIn = false
	}
	return nil
}

func (f *fake) Library() (Library, error) {
	return Library{Manufacturer: "Fake", Description: "In memory", Version: Version{1, 2}}, nil
}

func (f *fake) Slots() ([]uint, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var slots []uint
	for slot := range f.tokens {
		slots = append(slots, slot)
	}
	return slots, nil
}

func (f *fake) Slot(uint) (Slot, error) {
	return Slot{Description: "Fake slot", Manufacturer: "Fake"}, nil
}

func (f *fake) Token(slot uint) (TokenInfo, uint, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.tokens[slot]
	if t == nil {
		return TokenInfo{}, 0, rvTokenNotPresent
	}
	flags := t.flags
	if t.tries == 1 {
		flags |= ckfUserPINFinalTry
	}
	if t.tries == 0 {
		flags |= ckfUserPINLocked
	}
	return t.info, flags, nil
}

func (f *fake) MechanismFlags(_, m uint) (uint, error) {
	if m == ckmRSAX509 && !f.raw || f.lacks[m] {
		return 0, rvMechanismInvalid
	}
	return ckfDecrypt | ckfSign, nil
}

func (f *fake) OpenSession(slot uint) (handle, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tokens[slot] == nil {
		return 0, rvTokenNotPresent
	}
	h := f.next
	f.next++
	f.sessions[h] = &fakeSession{slot: slot}
	return h, nil
}

func (f *fake) CloseSession(h handle) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.sessions[h]
	if s == nil {
		return rvSessionHandleInvalid
	}
	delete(f.sessions, h)
	for _, other := range f.sessions {
		if other.slot == s.slot {
			return nil
		}
	}
	f.tokens[s.slot].loggedIn = false
	return nil
}

func (f *fake) CheckSession(h handle) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, _, err := f.at(h)
	return err
}

// at returns a session and its token. f.mu is held.
func (f *fake) at(h handle) (*fakeSession, *fakeToken, error) {
	s := f.sessions[h]
	if s == nil {
		return nil, nil, rvSessionHandleInvalid
	}
	return s, f.tokens[s.slot], nil
}

func (f *fake) Login(h handle, user uint, pin []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, t, err := f.at(h)
	switch {
	case err != nil:
		return err
	case user == ckuUser && t.loggedIn:
		return rvUserAlreadyLoggedIn
	case t.tries == 0:
		return rvPINLocked
	}
	f.logins++
	if t.flags&ckfProtectedPath == 0 && string(pin) != t.pin || t.flags&ckfProtectedPath != 0 && pin != nil {
		t.tries--
		return rvPINIncorrect
	}
	t.tries = 3
	if user == ckuContextSpecific {
		s.context = true
	} else {
		t.loggedIn = true
	}
	return nil
}

func (f *fake) Find(h handle, template []attr, most int) ([]object, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, t, err := f.at(h)
	if err != nil {
		return nil, err
	}
	var found []object
	for o := object(0); o < 10_000 && len(found) < most; o++ {
		content := t.objects[o]
		if content == nil || content.key != nil && !t.loggedIn {
			continue
		}
		match := true
		for _, a := range template {
			want := a.bytes
			if want == nil {
				want = ulong(a.num)
			}
			match = match && bytes.Equal(content.attrs[a.kind], want)
		}
		if match {
			found = append(found, o)
		}
	}
	return found, nil
}

func (f *fake) Attribute(h handle, o object, kind uint) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, t, err := f.at(h)
	if err != nil {
		return nil, err
	}
	if t.objects[o] == nil {
		return nil, rvObjectHandleInvalid
	}
	value, ok := t.objects[o].attrs[kind]
	if !ok || f.noPublic && kind == ckaECPoint {
		return nil, rvAttributeTypeInvalid
	}
	return value, nil
}

func (f *fake) start(h handle, m mechanism, o object) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, t, err := f.at(h)
	switch {
	case err != nil:
		return err
	case !t.loggedIn:
		return rvUserNotLoggedIn
	case t.objects[o] == nil || t.objects[o].key == nil:
		return rvKeyHandleInvalid
	case f.lacks[m.id] || m.id == ckmRSAX509 && !f.raw:
		return rvMechanismInvalid
	case s.key != nil:
		return rv(0x90)
	}
	s.key, s.m, s.context = t.objects[o], m, false
	return nil
}

// take ends the operation of a session.
func (f *fake) take(h handle) (*fakeObject, mechanism, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, _, err := f.at(h)
	if err != nil {
		return nil, mechanism{}, err
	}
	key := s.key
	s.key = nil
	if key.attrs[ckaAlwaysAuthenticate][0] == 1 && !s.context {
		return nil, mechanism{}, rvUserNotLoggedIn
	}
	return key, s.m, nil
}

func (f *fake) SignInit(h handle, m mechanism, o object) error { return f.start(h, m, o) }

func (f *fake) Sign(h handle, data []byte) ([]byte, error) {
	o, m, err := f.take(h)
	if err != nil {
		return nil, err
	}
	var out []byte
	switch m.id {
	case ckmRSAPKCS:
		out, err = rsa.SignPKCS1v15(nil, o.key.(*rsa.PrivateKey), 0, data)
	case ckmRSAPKCSPSS:
		out, err = rsa.SignPSS(rand.Reader, o.key.(*rsa.PrivateKey), m.hash, data, &rsa.PSSOptions{SaltLength: m.salt})
	case ckmRSAX509:
		out, err = fakeRaw(o.key.(*rsa.PrivateKey), data)
	case ckmECDSA:
		out, err = fakeECDSA(o.key.(*ecdsa.PrivateKey), data)
	case ckmEDDSA:
		out = ed25519.Sign(o.key.(ed25519.PrivateKey), data)
	default:
		err = rvMechanismInvalid
	}
	if f.fault && err == nil {
		out[len(out)-1] ^= 1
	}
	return out, err
}

// fakeRaw leaves leading zeros out, as some tokens do.
func fakeRaw(k *rsa.PrivateKey, data []byte) ([]byte, error) {
	if len(data) != k.Size() {
		return nil, rv(0x21)
	}
	return new(big.Int).Exp(new(big.Int).SetBytes(data), k.D, k.N).Bytes(), nil
}

func fakeECDSA(k *ecdsa.PrivateKey, data []byte) ([]byte, error) {
	size := (k.Params().N.BitLen() + 7) / 8
	if len(data) > size {
		return nil, rv(0x21)
	}
	sig, err := ecdsa.SignASN1(rand.Reader, k, data)
	if err != nil {
		return nil, err
	}
	s := cryptobyte.String(sig)
	var seq cryptobyte.String
	r, v := new(big.Int), new(big.Int)
	if !s.ReadASN1(&seq, asn1.SEQUENCE) || !seq.ReadASN1Integer(r) || !seq.ReadASN1Integer(v) {
		return nil, rv(5)
	}
	out := make([]byte, 2*size)
	r.FillBytes(out[:size])
	v.FillBytes(out[size:])
	return out, nil
}

func (f *fake) DecryptInit(h handle, m mechanism, o object) error {
	if m.id == ckmRSAPKCSOAEP && (m.hash != crypto.SHA1 || m.mgf != crypto.SHA1 || m.data != nil) {
		return rvArgumentsBad
	}
	return f.start(h, m, o)
}

func (f *fake) Decrypt(h handle, data []byte) ([]byte, error) {
	o, m, err := f.take(h)
	if err != nil {
		return nil, err
	}
	key := o.key.(*rsa.PrivateKey)
	var out []byte
	switch m.id {
	case ckmRSAX509:
		return fakeRaw(key, data)
	case ckmRSAPKCS:
		//lint:ignore SA1019 it is what a token does
		out, err = rsa.DecryptPKCS1v15(nil, key, data)
	case ckmRSAPKCSOAEP:
		out, err = rsa.DecryptOAEP(m.hash.New(), nil, key, data, m.data)
	default:
		return nil, rvMechanismInvalid
	}
	if err != nil {
		return nil, rv(5) // CKR_GENERAL_ERROR, as SoftHSM says it
	}
	return out, nil
}

func (f *fake) Agree(h handle, o object, public []byte, size int) ([]byte, error) {
	if err := f.start(h, mechanism{}, o); err != nil {
		return nil, err
	}
	content, _, err := f.take(h)
	if err != nil {
		return nil, err
	}
	if f.octetPoint {
		head := len(octetsHeader(len(public) - 2))
		if !bytes.Equal(public[:head], octetsHeader(len(public)-head)) {
			return nil, rvMechanismParamInvalid
		}
		public = public[head:]
	}
	var key *ecdh.PrivateKey
	switch k := content.key.(type) {
	case *ecdsa.PrivateKey:
		if key, err = k.ECDH(); err != nil {
			return nil, err
		}
	case *ecdh.PrivateKey:
		key = k
	}
	peer, err := key.Curve().NewPublicKey(public)
	if err != nil {
		return nil, rvMechanismParamInvalid
	}
	secret, err := key.ECDH(peer)
	if err == nil && len(secret) != size {
		return nil, rv(0x62)
	}
	return bytes.TrimLeft(secret, "\x00"), err
}

// openFake opens a token of a fake module.
func openFake(t testing.TB, f *fake, uri string, pin keystore.Passphrase) *Token {
	t.Helper()
	token, err := tryFake(t, f, uri, pin)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := token.Close(); err != nil {
			t.Error(err)
		}
	})
	return token
}

// acquire is what opening the module by its name is for others.
func (f *fake) acquire() (*module, error) {
	return acquire(fmt.Sprintf("fake/%p", f), func(string) (cryptoki, error) { return f, nil })
}

func tryFake(t testing.TB, f *fake, uri string, pin keystore.Passphrase) (*Token, error) {
	t.Helper()
	u, err := ParseURI(uri)
	if err != nil {
		t.Fatal(err)
	}
	m, err := f.acquire()
	if err != nil {
		t.Fatal(err)
	}
	token, err := newToken(m, u, pin, 3)
	if err != nil {
		if releaseErr := m.release(); releaseErr != nil {
			t.Error(releaseErr)
		}
		return nil, fileError(u, err)
	}
	return token, nil
}
