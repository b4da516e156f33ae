package peers

import (
	"bytes"
	"crypto/sha1"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// A world is an Env that has been checked and written to files.
type world struct {
	dir     string
	roots   string // a file with all roots in PEM
	rootDER [][]byte
	people  map[string]*member
	order   []string // names, as in Env.People
}

// A member is a Person whose certificate has been looked into.
type member struct {
	Person
	certDER   []byte
	chain     [][]byte // the certificates after the first, in DER
	keyType   string   // "rsa", "p256", "p384", "p521", "ed25519", "x25519", or an OID
	certFile  string   // the certificate alone, in PEM
	chainFile string   // the whole of CertPEM
	aboveFile string   // the certificates after the first, or "" if there are none
	keyFile   string   // "" without a private key
}

// keyTypes names public keys by the OID of their algorithm or, if that is
// id-ecPublicKey, of their curve.
var keyTypes = map[string]string{
	"1.2.840.113549.1.1.1": "rsa",
	"1.2.840.10045.3.1.7":  "p256",
	"1.3.132.0.34":         "p384",
	"1.3.132.0.35":         "p521",
	"1.3.101.112":          "ed25519",
	"1.3.101.110":          "x25519",
}

func newWorld(env *Env) (*world, error) {
	w := &world{dir: env.Dir, people: make(map[string]*member)}
	files := filepath.Join(env.Dir, "people")
	if err := os.MkdirAll(files, 0o700); err != nil {
		return nil, err
	}
	var all bytes.Buffer
	for _, root := range env.Roots {
		certs := certificates(root)
		if len(certs) == 0 {
			return nil, fmt.Errorf("peers: a root holds no certificate")
		}
		w.rootDER = append(w.rootDER, certs...)
		all.Write(root)
		all.WriteByte('\n')
	}
	w.roots = filepath.Join(files, "roots.pem")
	if err := os.WriteFile(w.roots, all.Bytes(), 0o600); err != nil {
		return nil, err
	}
	for _, person := range env.People {
		m, err := newMember(files, person)
		if err != nil {
			return nil, fmt.Errorf("peers: %q: %w", person.Name, err)
		}
		if w.people[person.Name] != nil {
			return nil, fmt.Errorf("peers: two people are called %q", person.Name)
		}
		w.people[person.Name] = m
		w.order = append(w.order, person.Name)
	}
	return w, nil
}

func newMember(dir string, person Person) (*member, error) {
	if person.Name == "" || strings.ContainsAny(person.Name, "/+, \t\n") {
		return nil, fmt.Errorf("the name does not serve as a file name")
	}
	certs := certificates(person.CertPEM)
	if len(certs) == 0 {
		return nil, fmt.Errorf("no certificate")
	}
	kt, err := keyType(certs[0])
	if err != nil {
		return nil, err
	}
	base := filepath.Join(dir, person.Name)
	m := &member{
		Person: person, certDER: certs[0], chain: certs[1:], keyType: kt,
		certFile: base + ".pem", chainFile: base + ".chain.pem",
	}
	files := map[string][]byte{
		m.certFile:  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certs[0]}),
		m.chainFile: person.CertPEM,
	}
	if person.KeyPEM != nil {
		m.keyFile = base + ".key"
		files[m.keyFile] = person.KeyPEM
	}
	if len(m.chain) > 0 {
		m.aboveFile = base + ".above.pem"
		for _, der := range m.chain {
			block := pem.Block{Type: "CERTIFICATE", Bytes: der}
			files[m.aboveFile] = append(files[m.aboveFile], pem.EncodeToMemory(&block)...)
		}
	}
	for name, data := range files {
		if err = os.WriteFile(name, data, 0o600); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// ec reports whether the key is on an elliptic curve that ECDSA and ECDH use.
func (m *member) ec() bool { return strings.HasPrefix(m.keyType, "p") }

// rsaOrEC reports whether the key is of a kind that every peer knows.
func (m *member) rsaOrEC() bool { return m.keyType == "rsa" || m.ec() }

// fingerprint returns the SHA-1 fingerprint of the certificate in upper-case
// hexadecimal, which is the name that GnuPG has for it.
func fingerprint(certDER []byte) string {
	sum := sha1.Sum(certDER)
	return strings.ToUpper(hex.EncodeToString(sum[:]))
}

// get returns the people of the given names.
func (w *world) get(names ...string) ([]*member, error) {
	list := make([]*member, 0, len(names))
	for _, name := range names {
		m := w.people[name]
		if m == nil {
			return nil, fmt.Errorf("peers: nobody is called %q", name)
		}
		list = append(list, m)
	}
	return list, nil
}

// certificates returns the certificates in PEM data.
func certificates(data []byte) [][]byte {
	var list [][]byte
	for {
		var block *pem.Block
		block, data = pem.Decode(data)
		if block == nil {
			return list
		}
		if block.Type == "CERTIFICATE" {
			list = append(list, block.Bytes)
		}
	}
}

// keyType finds the kind of public key in a certificate without asking that
// crypto/x509 should understand the rest of it.
func keyType(der []byte) (string, error) {
	input := cryptobyte.String(der)
	var cert, tbs, skip, spki, alg cryptobyte.String
	var oid asn1.ObjectIdentifier
	ok := input.ReadASN1(&cert, cbasn1.SEQUENCE) &&
		cert.ReadASN1(&tbs, cbasn1.SEQUENCE) &&
		tbs.SkipOptionalASN1(cbasn1.Tag(0).Constructed().ContextSpecific()) &&
		tbs.SkipASN1(cbasn1.INTEGER)
	for range 4 { // signature, issuer, validity, subject
		ok = ok && tbs.ReadASN1(&skip, cbasn1.SEQUENCE)
	}
	ok = ok && tbs.ReadASN1(&spki, cbasn1.SEQUENCE) &&
		spki.ReadASN1(&alg, cbasn1.SEQUENCE) &&
		alg.ReadASN1ObjectIdentifier(&oid)
	if !ok {
		return "", fmt.Errorf("no public key found in the certificate")
	}
	if oid.String() == "1.2.840.10045.2.1" && !alg.ReadASN1ObjectIdentifier(&oid) {
		return "", fmt.Errorf("the curve of the public key has no name")
	}
	if name := keyTypes[oid.String()]; name != "" {
		return name, nil
	}
	return oid.String(), nil
}
