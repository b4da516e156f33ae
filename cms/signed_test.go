package cms

import (
	"bytes"
	"crypto"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/ber"
	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/pki"
)

func TestSignVerify(t *testing.T) {
	signers := map[string]Signer{"key id": signer(t, testpki.RSA2048), "bare": signer(t, testpki.RSA2048)}
	for _, kind := range []testpki.KeyType{testpki.RSA2048, testpki.RSAPSS2048, testpki.P256, testpki.P384, testpki.P521, testpki.Ed25519} {
		signers[kind.String()] = signer(t, kind)
	}
	for _, name := range alg.DigestNames() {
		d, _ := alg.DigestByName(name)
		s := signer(t, testpki.RSA2048)
		s.Digest = d.Hash
		if d.Hash != crypto.SHA512_224 && d.Hash != crypto.SHA512_256 {
			signers["RSA "+name] = s
		}
		s.PSS = true
		signers["PSS "+name] = s
	}
	s := signers["key id"]
	s.KeyID = true
	signers["key id"] = s
	s = signers["bare"]
	s.NoAttributes = true
	signers["bare"] = s
	s = signer(t, testpki.RSA2048)
	s.PSS, s.SaltLength = true, 20
	signers["PSS salt 20"] = s
	for name, s := range signers {
		t.Run(name, func(t *testing.T) {
			for _, size := range testSizes {
				checkSignVerify(t, s, size)
			}
		})
	}
}

func checkSignVerify(t *testing.T, s Signer, size int) {
	t.Helper()
	content := testContent(size)
	for _, opts := range []*SignOptions{nil, {Size: int64(size)}, {ContentType: TypeEnvelopedData}} {
		if opts != nil && opts.ContentType != "" && s.NoAttributes {
			continue
		}
		var out bytes.Buffer
		w, err := Sign(&out, []Signer{s}, opts)
		write(t, w, err, content)
		message := bytes.Clone(out.Bytes())
		isDER, err := ber.Normalize(message, 64)
		if err != nil {
			t.Fatal(err)
		}
		if der := bytes.Equal(isDER, message); !der && (size <= smallContent || (opts != nil && opts.Size > 0 && s.Key.Public() == nil)) {
			t.Errorf("%d octets: the message is not DER", size)
		}
		sr, err := newReader(t, message).Verify(&VerifyOptions{Trust: trustCA()})
		if err != nil {
			t.Fatal(err)
		}
		got, err := readAll(sr, nil)
		if err != nil || !bytes.Equal(got, content) {
			t.Fatalf("%d octets: %d came back: %v", size, len(got), err)
		}
		r := sr.Signers()[0]
		if len(sr.Signers()) != 1 || !r.Valid || !r.Trusted || r.Err != nil || (r.SigningTime.IsZero() != s.NoAttributes) {
			t.Fatalf("result %+v", r)
		}
		if err = sr.Close(); err != nil {
			t.Fatal(err)
		}
	}
	d, err := NewDetachedSigner([]Signer{s}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = d.Write(content)
	var out bytes.Buffer
	if err = d.Finish(&out); err != nil {
		t.Fatal(err)
	}
	message := out.Bytes()
	got, err := readAll(newReader(t, message).Verify(&VerifyOptions{Trust: trustCA(), Content: bytes.NewReader(content)}))
	if err != nil || !bytes.Equal(got, content) {
		t.Fatalf("detached: %v", err)
	}
	hashed := NewContentHash(d.Digests()...)
	_, _ = hashed.Write(content)
	if _, err = readAll(newReader(t, message).Verify(&VerifyOptions{Trust: trustCA(), Hashed: hashed})); err != nil {
		t.Fatalf("hashed: %v", err)
	}
	wrong := append(bytes.Clone(content), 'x')
	_, err = readAll(newReader(t, message).Verify(&VerifyOptions{Trust: trustCA(), Content: bytes.NewReader(wrong)}))
	want := ReasonDigest
	if s.NoAttributes {
		want = ReasonSignature
	}
	checkReason(t, err, want)
}

func checkReason(t *testing.T, err error, want Reason) {
	t.Helper()
	ve, ok := errors.AsType[*VerifyError](err)
	if !ok || ve.Reason != want {
		t.Fatalf("the verdict is %v, want %q", err, want)
	}
}

func sign(t testing.TB, content []byte, opts *SignOptions, signers ...Signer) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := Sign(&out, signers, opts)
	write(t, w, err, content)
	return out.Bytes()
}

func TestSeveralSigners(t *testing.T) {
	a, b := signer(t, testpki.RSA2048), signer(t, testpki.P384)
	a.Countersigners = []Signer{signer(t, testpki.P256), signer(t, testpki.Ed25519)}
	message := sign(t, []byte("content"), nil, a, b)
	sr, err := newReader(t, message).Verify(&VerifyOptions{Trust: trustCA()})
	if _, err = readAll(sr, err); err != nil {
		t.Fatal(err)
	}
	var counters []*SignerResult
	for _, r := range sr.Signers() {
		counters = append(counters, r.Countersigners...)
	}
	if len(sr.Signers()) != 2 || len(counters) != 2 || len(sr.Certificates()) != 4 {
		t.Fatalf("%d signers, %d countersigners, %d certificates", len(sr.Signers()), len(counters), len(sr.Certificates()))
	}
	for _, c := range counters {
		if !c.Trusted || c.Err != nil {
			t.Errorf("countersigner: %v", c.Err)
		}
	}
	// One bad signer spoils the message.
	other, err := testpki.NewCA("Other CA")
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := other.Issue(testpki.Profile{Key: testpki.P256})
	if err != nil {
		t.Fatal(err)
	}
	message = sign(t, []byte("content"), nil, a, NewSigner(stranger.Cert, stranger.Key.(crypto.Signer)))
	_, err = readAll(newReader(t, message).Verify(&VerifyOptions{Trust: trustCA()}))
	checkReason(t, err, ReasonUntrusted)
}

func TestVerifyRefuses(t *testing.T) {
	s := signer(t, testpki.P256)
	content := []byte("content")
	message := sign(t, content, nil, s)
	if _, err := newReader(t, message).Verify(&VerifyOptions{}); !isUsage(err) {
		t.Errorf("without Trust: %v", err)
	}
	if _, err := newReader(t, message).Verify(nil); !isUsage(err) {
		t.Errorf("without options: %v", err)
	}
	_, err := newReader(t, message).Verify(&VerifyOptions{Trust: trustCA(), Content: bytes.NewReader(content)})
	checkReason(t, err, ReasonContent)
	_, err = readAll(newReader(t, message).Verify(&VerifyOptions{Trust: trustCA(), Time: time.Now().AddDate(10, 0, 0)}))
	checkReason(t, err, ReasonUntrusted)
	_, err = readAll(newReader(t, message).Verify(&VerifyOptions{Trust: TrustRoots()}))
	checkReason(t, err, ReasonUntrusted)

	sr, err := newReader(t, message).Verify(&VerifyOptions{Trust: InsecureTrustAnySigner})
	if _, err = readAll(sr, err); err != nil || !sr.Signers()[0].Valid || sr.Signers()[0].Trusted {
		t.Errorf("insecure: %v, %+v", err, sr.Signers()[0])
	}
	bare := sign(t, content, &SignOptions{NoCertificates: true}, s)
	_, err = readAll(newReader(t, bare).Verify(&VerifyOptions{Trust: trustCA()}))
	checkReason(t, err, ReasonNoCertificate)
	_, err = readAll(newReader(t, bare).Verify(&VerifyOptions{Trust: trustCA(), Certificates: []*pki.Certificate{s.Certificate}}))
	if err != nil {
		t.Errorf("with the certificate at hand: %v", err)
	}
	r := newReader(t, message)
	if _, err = r.Verify(&VerifyOptions{Trust: trustCA()}); err != nil {
		t.Fatal(err)
	}
	if _, err = r.Verify(&VerifyOptions{Trust: trustCA()}); !isUsage(err) {
		t.Errorf("second Verify: %v", err)
	}
}

func isUsage(err error) bool {
	_, ok := errors.AsType[*UsageError](err)
	return ok
}

func TestCertsOnly(t *testing.T) {
	p := person(t, testpki.P256)
	var out bytes.Buffer
	certs := []*pki.Certificate{pki.FromX509(p.Cert), pki.FromX509(testCA.Cert), pki.FromX509(p.Cert)}
	if err := WriteCertificates(&out, certs, nil); err != nil {
		t.Fatal(err)
	}
	got, crls, err := newReader(t, out.Bytes()).Certificates()
	if err != nil || len(got) != 2 || len(crls) != 0 {
		t.Fatalf("%d certificates, %d CRLs: %v", len(got), len(crls), err)
	}
	_, err = readAll(newReader(t, out.Bytes()).Verify(&VerifyOptions{Trust: trustCA()}))
	checkReason(t, err, ReasonNoSigners)
	got, _, err = newReader(t, sign(t, testContent(200_000), nil, signer(t, testpki.P256))).Certificates()
	if err != nil || len(got) != 1 {
		t.Fatalf("of a signed message: %d certificates: %v", len(got), err)
	}
}

// TestCloseDrains shows that a caller who stops early still gets the verdict.
func TestCloseDrains(t *testing.T) {
	message := sign(t, testContent(300_000), nil, signer(t, testpki.P256))
	message[100_000] ^= 1
	sr, err := newReader(t, message).Verify(&VerifyOptions{Trust: trustCA()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = io.ReadFull(sr, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		checkReason(t, sr.Close(), ReasonDigest)
	}
	if _, err = sr.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Fatalf("read after the verdict: %v", err)
	}
}

// TestAttributesAsContent shows that the signed attributes of a message cannot
// be passed off as signed content.
func TestAttributesAsContent(t *testing.T) {
	message := sign(t, []byte("content"), nil, signer(t, testpki.RSA2048))
	sr, err := newReader(t, message).openSigned("test")
	if err != nil {
		t.Fatal(err)
	}
	sr.src, sr.finish = sr.encap.content, sr.readTail
	if err = sr.Close(); err != nil {
		t.Fatal(err)
	}
	si := sr.infos[0]
	set, err := retag(0x31, si.rawSigned)
	if err != nil {
		t.Fatal(err)
	}
	si.hasSigned = false
	content := NewContentHash(crypto.SHA256)
	_, _ = content.Write(set)
	result := (&SignedReader{opts: VerifyOptions{Trust: trustCA()}, certs: sr.certs, r: sr.r}).judge(si, TypeData, content, false)
	checkReason(t, result.Err, ReasonAttributes)
}

func TestSignUsage(t *testing.T) {
	a, b := signer(t, testpki.P256), signer(t, testpki.RSA2048)
	mixed := Signer{Certificate: a.Certificate, Key: b.Key}
	weak := signer(t, testpki.RSA1024)
	sha1 := b
	sha1.Digest = crypto.SHA1
	bare := a
	bare.NoAttributes = true
	for name, try := range map[string]func() error{
		"no signers":    func() error { _, err := Sign(io.Discard, nil, nil); return err },
		"no key":        func() error { _, err := Sign(io.Discard, []Signer{{Certificate: a.Certificate}}, nil); return err },
		"another's key": func() error { _, err := Sign(io.Discard, []Signer{mixed}, nil); return err },
		"small key":     func() error { _, err := Sign(io.Discard, []Signer{weak}, nil); return err },
		"sha1":          func() error { _, err := Sign(io.Discard, []Signer{sha1}, nil); return err },
		"bare, not data": func() error {
			_, err := Sign(io.Discard, []Signer{bare}, &SignOptions{ContentType: TypeSignedData})
			return err
		},
		"negative size": func() error { _, err := Sign(io.Discard, []Signer{a}, &SignOptions{Size: -1}); return err },
		"certs-only":    func() error { return WriteCertificates(io.Discard, nil, nil) },
		"too much": func() error {
			w, err := Sign(io.Discard, []Signer{a}, &SignOptions{Size: 3})
			if err != nil {
				return nil
			}
			_, err = w.Write([]byte("four"))
			return err
		},
		"too little": func() error {
			w, err := Sign(io.Discard, []Signer{a}, &SignOptions{Size: 5})
			if err != nil {
				return nil
			}
			_, _ = w.Write([]byte("four"))
			return w.Close()
		},
	} {
		if err := try(); !isUsage(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
