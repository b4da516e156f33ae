package ldap_test

import (
	"context"
	"crypto"
	cryptotls "crypto/tls"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"crypto/x509"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/oid"
	"github.com/postseal/postseal/internal/peers"
	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/keystore/ldap"
	"github.com/postseal/postseal/tls"
)

// A directory is slapd with the people of the tests.
type directory struct {
	*peers.Slapd
	people map[string]*testpki.Person
}

// capabilities is SMIMECapabilities with AES-128-CBC and AES-256-GCM (RFC 8551,
// Section 2.5.2), in this order.
var capabilities = []byte{0x30, 0x1a,
	0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x02,
	0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2e}

func startDirectory(t *testing.T) *directory {
	t.Helper()
	d := &directory{people: make(map[string]*testpki.Person)}
	for _, name := range []string{"alice", "bob", "carol", "dave", "erin", "frank", "grete", "ivan", "closed", "stranger"} {
		d.people[name] = issue(t, mailProfile(name+"@example.org"))
	}
	d.people["grün"] = issue(t, testpki.Profile{Name: "grün", Email: "grete@xn--grn-ioa.example", Key: testpki.P256})
	signer := func(name string) cms.Signer {
		p := d.people[name]
		return cms.Signer{Certificate: parse(t, p.Cert), Key: p.Key.(crypto.Signer),
			Signed: cms.Attributes{{Type: oid.AttrSMIMECapabilities, Values: [][]byte{capabilities}}}}
	}
	raw := func(name string) []byte { return d.people[name].Cert.Raw }
	broken := signedObject(t, signer("erin"), nil, true)
	broken[len(broken)-5] ^= 1
	ldif := unit("people") + unit("closed") +
		entry("alice", people, "mail: Alice@Example.org", binary("userCertificate;binary", raw("alice"))) +
		entry("bob", people, "mail: robert@example.org", "proxyAddresses: SMTP:robert@example.org", "proxyAddresses: smtp:bob@example.org",
			binary("userCertificate;binary", raw("bob"))) +
		entry("carol", people, "mailLocalAddress: carol@example.org", binary("userSMIMECertificate", signedObject(t, signer("carol"), nil, true))) +
		entry("dave", people, "mail: dave@example.org", binary("userSMIMECertificate", signedObject(t, signer("dave"), []byte("content"), false)),
			binary("userCertificate;binary", raw("dave"))) +
		entry("erin", people, "mail: erin@example.org", binary("userSMIMECertificate", broken)) +
		entry("frank", people, "mail: frank@example.org", binary("userSMIMECertificate", []byte("no object"))) +
		entry("grete", people, "mail: grete@xn--grn-ioa.example", binary("userCertificate;binary", raw("grün"))) +
		entry("heidi", people, "mail: heidi@example.org", binary("userCertificate;binary", raw("stranger"))) +
		entry("ivan", people, "mail: ivan@example.org") +
		entry("closed", peers.DirectoryClosed, "mail: closed@example.org", binary("userCertificate;binary", raw("closed"))) +
		"dn: ou=elsewhere," + peers.DirectorySuffix + "\nobjectClass: referral\nobjectClass: extensibleObject\nou: elsewhere\nref: ldap://192.0.2.1/ou=elsewhere\n\n"
	files := serverFiles(t, hostName)
	d.Slapd = peers.StartDirectory(t, files.Cert, files.Key, ldif)
	return d
}

// TestDirectory asks OpenLDAP in every way.
func TestDirectory(t *testing.T) {
	d := startDirectory(t)
	t.Run("found", d.found)
	t.Run("capabilities", d.capabilities)
	t.Run("none", d.none)
	t.Run("bind", d.bind)
	t.Run("TLS", d.tls)
	t.Run("injection", d.injection)
	t.Run("failures", d.failures)
	d.down(t) // the last
}

func (d *directory) found(t *testing.T) {
	for _, mode := range []tls.Mode{tls.StartTLS, tls.Implicit, tls.InsecurePlaintext} {
		o := options(t, d.Slapd, mode)
		o.Base = people
		f := finder(t, o)
		for address, name := range map[string]string{"alice@example.org": "alice", "alice@EXAMPLE.org": "alice", "bob@example.org": "bob",
			"carol@example.org": "carol", "dave@example.org": "dave", "erin@example.org": "erin", "grete@grün.example": "grün", "grete@xn--grn-ioa.example": "grün"} {
			found, err := f.Find(t.Context(), address)
			if err != nil || len(found) != 1 || found[0].Err != nil || !sameCert(found[0].Certificate, d.people[name]) {
				t.Errorf("%v: %s: %+v, %v", mode, address, found, err)
				continue
			}
			if found[0].Vouched || found[0].Source != f.Source() || !strings.Contains(found[0].Detail, " of uid=") {
				t.Errorf("%v: %s: %+v", mode, address, found[0])
			}
		}
	}
}

// capabilities come from a signature that is good alone.
func (d *directory) capabilities(t *testing.T) {
	f := finder(t, options(t, d.Slapd, tls.StartTLS))
	for address, want := range map[string]string{"carol@example.org": "[aes-128-cbc aes-256-gcm]", "dave@example.org": "[aes-128-cbc aes-256-gcm]",
		"erin@example.org": "[]", "alice@example.org": "[]"} {
		found, err := f.Find(t.Context(), address)
		if err != nil || len(found) != 1 || fmt.Sprint(found[0].Capabilities) != want {
			t.Errorf("%s: %+v, %v", address, found, err)
		}
	}
}

// none has what is not usable, and what is not there.
func (d *directory) none(t *testing.T) {
	o := options(t, d.Slapd, tls.StartTLS)
	o.Base = people
	f := finder(t, o)
	for _, address := range []string{"nobody@example.org", "ivan@example.org", "robert@example.com"} {
		if found, err := f.Find(t.Context(), address); err != nil || len(found) != 0 {
			t.Errorf("%s: %+v, %v", address, found, err)
		}
	}
	// Of others, in the entry of somebody.
	for _, address := range []string{"heidi@example.org", "robert@example.org"} {
		var unusable *keystore.UnusableError
		found, err := f.Find(t.Context(), address)
		if err != nil || len(found) != 1 || !errors.As(found[0].Err, &unusable) || unusable.Reason != keystore.UnusableAddress {
			t.Errorf("%s: %+v, %v", address, found, err)
		}
	}
	// A value that cannot be read is not "none".
	found, err := f.Find(t.Context(), "frank@example.org")
	isSourceError(t, found, err)
	// From the suffix on there is a referral, which is not followed.
	f = finder(t, options(t, d.Slapd, tls.StartTLS))
	found, err = f.Find(t.Context(), "nobody@example.org")
	if isSourceError(t, found, err); !errors.Is(err, ldap.ErrReferral) {
		t.Error(err)
	}
	if found, err = f.Find(t.Context(), "alice@example.org"); err != nil || len(found) != 1 {
		t.Errorf("%+v, %v", found, err)
	}
	// The base itself is a referral.
	o.Base = "ou=elsewhere," + peers.DirectorySuffix
	found, err = finder(t, o).Find(t.Context(), "alice@example.org")
	if isSourceError(t, found, err); !errors.Is(err, ldap.ErrReferral) {
		t.Error(err)
	}
}

func (d *directory) bind(t *testing.T) {
	o := options(t, d.Slapd, tls.StartTLS)
	o.Base = peers.DirectoryClosed
	found, err := finder(t, o).Find(t.Context(), "closed@example.org")
	var result *ldap.ResultError
	if isSourceError(t, found, err); !errors.As(err, &result) || result.Code != 32 || result.Name == "" {
		t.Errorf("anonymous: %v", err)
	}
	for password, want := range map[string]error{peers.DirectoryPassword: nil, "another": ldap.ErrCredentials, "": nil} {
		o.BindDN, o.Password = peers.DirectoryUser, func() ([]byte, error) { return []byte(password), nil }
		found, err = finder(t, o).Find(t.Context(), "closed@example.org")
		if password == peers.DirectoryPassword {
			if err != nil || len(found) != 1 || !sameCert(found[0].Certificate, d.people["closed"]) {
				t.Errorf("%+v, %v", found, err)
			}
			continue
		}
		if isSourceError(t, found, err); want != nil && !errors.Is(err, want) || password != "" && strings.Contains(err.Error(), password) {
			t.Errorf("%q: %v", password, err)
		}
	}
	refused := errors.New("nobody to ask")
	o.Password = func() ([]byte, error) { return nil, refused }
	found, err = finder(t, o).Find(t.Context(), "closed@example.org")
	if isSourceError(t, found, err); !errors.Is(err, refused) {
		t.Error(err)
	}
	o.BindDN, o.Password = "not a name", func() ([]byte, error) { return []byte("x"), nil }
	found, err = finder(t, o).Find(t.Context(), "closed@example.org")
	if isSourceError(t, found, err); !errors.As(err, &result) || result.Text != "" {
		t.Error(err)
	}
}

// tls does not go on with a certificate that is not the directory's.
func (d *directory) tls(t *testing.T) {
	for _, mode := range []tls.Mode{tls.StartTLS, tls.Implicit} {
		for name, config := range map[string]*cryptotls.Config{
			"another name":      {RootCAs: trusting(t).RootCAs, ServerName: "other.example.test"},
			"name of Address":   {RootCAs: trusting(t).RootCAs},
			"another authority": {RootCAs: x509.NewCertPool(), ServerName: hostName},
			"the system's":      nil,
		} {
			o := options(t, d.Slapd, mode)
			o.TLS = config
			o.BindDN, o.Password = peers.DirectoryUser, func() ([]byte, error) {
				t.Errorf("%s: the password was asked for", name)
				return nil, errors.New("no")
			}
			found, err := finder(t, o).Find(t.Context(), "alice@example.org")
			if isSourceError(t, found, err); !errors.As(err, new(*tls.HandshakeError)) {
				t.Errorf("%v: %s: %v", mode, name, err)
			}
		}
	}
	// TLS to the port of StartTLS, and the other way round.
	o := options(t, d.Slapd, tls.Implicit)
	o.Address = d.Addr
	found, err := finder(t, o).Find(t.Context(), "alice@example.org")
	isSourceError(t, found, err)
	o.Mode, o.Address, o.Timeout = tls.StartTLS, d.LDAPS, 2*time.Second
	found, err = finder(t, o).Find(t.Context(), "alice@example.org")
	isSourceError(t, found, err)
}

// injection finds nobody but who has the address that was asked for.
func (d *directory) injection(t *testing.T) {
	for _, template := range []string{"", "(mail={address})", "(|(mail={local}@{domain})(uid={local}))", "(&(objectClass=*)(mail={address}))"} {
		o := options(t, d.Slapd, tls.StartTLS)
		o.Base, o.Filter = people, template
		f := finder(t, o)
		for _, address := range []string{"*@example.org", "a*@example.org", "*@*", "\\2a@example.org", "x)(uid=*))(|(uid=*@example.org",
			"*)(uid=*))(|(mail=*@example.org", "x@example.org)(uid=*", "x@example.org\\00", "){address}(@example.org", "{local}@example.org", "&@example.org", "!(a=b)@example.org"} {
			found, err := f.Find(t.Context(), address)
			var syntax *keystore.SyntaxError
			if len(found) > 0 || err != nil && !errors.As(err, &syntax) {
				t.Errorf("%q in %q: %+v, %v", address, template, found, err)
			}
		}
		if found, err := f.Find(t.Context(), "alice@example.org"); err != nil || len(found) != 1 {
			t.Errorf("%q: %+v, %v", template, found, err)
		}
	}
}

func (d *directory) failures(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	f := finder(t, options(t, d.Slapd, tls.StartTLS))
	found, err := f.Find(ended, "alice@example.org")
	if isSourceError(t, found, err); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	o := options(t, d.Slapd, tls.StartTLS)
	o.Base = "dc=nowhere,dc=example"
	found, err = finder(t, o).Find(t.Context(), "alice@example.org")
	var result *ldap.ResultError
	if isSourceError(t, found, err); !errors.As(err, &result) {
		t.Error(err)
	}
	// More entries than allowed: some are there, and that they are not all is said.
	o = options(t, d.Slapd, tls.StartTLS)
	o.Base, o.Entries, o.Filter = people, 2, "(|(uid=*)(mail={address}))"
	found, err = finder(t, o).Find(t.Context(), "alice@example.org")
	var limit *ldap.LimitError
	if !errors.As(err, new(*keystore.SourceError)) || !errors.As(err, &limit) || len(found) == 0 {
		t.Errorf("%d found, %v", len(found), err)
	}
	o.Entries, o.Octets, o.Filter = 0, 1, ""
	o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	if found, err = finder(t, o).Find(t.Context(), "alice@example.org"); err != nil || len(found) != 1 {
		t.Errorf("%+v, %v", found, err) // what LDAP itself needs is allowed besides
	}
}

// down stops the server.
func (d *directory) down(t *testing.T) {
	d.Stop()
	for _, mode := range []tls.Mode{tls.StartTLS, tls.Implicit, tls.InsecurePlaintext} {
		f := finder(t, options(t, d.Slapd, mode))
		found, err := f.Find(t.Context(), "alice@example.org")
		var dial *net.OpError
		if isSourceError(t, found, err); !errors.As(err, &dial) {
			t.Errorf("%v: %v", mode, err)
		}
		chain := &keystore.Chain{Finders: []keystore.Finder{f}}
		found, err = chain.Find(t.Context(), "alice@example.org")
		isSourceError(t, found, err)
	}
}

// TestManyValues has an entry with 10,000 certificates, of which one can be used.
func TestManyValues(t *testing.T) {
	const many = 10000
	var ldif strings.Builder
	ldif.WriteString(unit("people"))
	var values []string
	good := issue(t, mailProfile("many@example.org"))
	old := time.Now().AddDate(-1, 0, 0)
	for i := range many {
		cert := good.Cert.Raw
		if i != many/2 {
			p := mailProfile("many@example.org")
			p.NotBefore, p.NotAfter = old, old.Add(time.Duration(i)*time.Second)
			p.Edit = func(c *x509.Certificate) { c.SerialNumber = big.NewInt(int64(i + 1)) }
			cert = issue(t, p).Cert.Raw
		}
		values = append(values, binary("userCertificate;binary", cert))
	}
	ldif.WriteString(entry("many", people, append(values, "mail: many@example.org")...))
	files := serverFiles(t, hostName)
	s := peers.StartDirectory(t, files.Cert, files.Key, ldif.String())
	start := time.Now()
	found, err := finder(t, options(t, s, tls.Implicit)).Find(t.Context(), "many@example.org")
	t.Logf("%d octets of LDIF, %d certificates returned after %v", ldif.Len(), len(found), time.Since(start))
	if err != nil || len(found) != ldap.DefaultCertificates || found[0].Err != nil || !sameCert(found[0].Certificate, good) {
		t.Fatalf("%d certificates, %v", len(found), err)
	}
	for _, f := range found[1:] {
		var unusable *keystore.UnusableError
		if !errors.As(f.Err, &unusable) || unusable.Reason != keystore.UnusableExpired {
			t.Errorf("%v", f.Err)
		}
	}
	// And a limit that is too low for them.
	o := options(t, s, tls.Implicit)
	o.Octets = 1 << 20
	found, err = finder(t, o).Find(t.Context(), "many@example.org")
	var limit *ldap.LimitError
	if isSourceError(t, found, err); !errors.As(err, &limit) {
		t.Error(err)
	}
}
