package cms

import (
	"crypto/rand"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/ber"
	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// An AlgorithmIdentifier is an algorithm with its parameters (RFC 5280, Section
// 4.1.1.2).
type AlgorithmIdentifier = der.Algorithm

// A RecipientInfo is how one recipient, or several, come to the key of a
// message (RFC 5652, Section 6.2). It is one of [*KeyTransRecipientInfo],
// [*KeyAgreeRecipientInfo], [*KEKRecipientInfo], [*PasswordRecipientInfo],
// [*KEMRecipientInfo] and [*OtherRecipientInfo].
//
//	RecipientInfo ::= CHOICE {
//	  ktri KeyTransRecipientInfo,
//	  kari [1] KeyAgreeRecipientInfo,
//	  kekri [2] KEKRecipientInfo,
//	  pwri [3] PasswordRecipientinfo,
//	  ori [4] OtherRecipientInfo }
type RecipientInfo interface {
	// String describes the recipient in a line: how, and for whom.
	String() string

	add(b *der.Builder)
	// minVersion is the EnvelopedData version that the presence of this
	// RecipientInfo asks for (RFC 5652, Section 6.1).
	minVersion() int
}

// A Recipient is somebody a message is encrypted to. Wrap returns the
// RecipientInfos that lead to the content-encryption key cek, one or more. It
// must not keep cek. Wrap may be called by several messages at the same time.
type Recipient interface {
	Wrap(cek []byte) ([]RecipientInfo, error)
}

// An Identity is somebody who can open messages. Unwrap returns the key of a
// message from one of its RecipientInfos. cekLen is the size of the key in
// octets, or 0 when the content's algorithm takes several.
//
// The error is [ErrNoMatch] when no RecipientInfo is for this identity, and
// [ErrDecrypt] when one is and does not open. An identity that uses RSA with
// PKCS #1 v1.5 padding must not return ErrDecrypt: when the padding or the
// size is wrong it returns a random key of cekLen octets (RFC 3218, Section
// 2.3.2). Any other error says that the key could not be used, whatever the
// message: that its token is gone, for example. It is returned to the reader if
// no other identity opens the message.
//
// Unwrap may be called by several messages at the same time.
type Identity interface {
	Unwrap(infos []RecipientInfo, cekLen int) ([]byte, error)
}

// An OtherRecipientInfo is of a kind that this package does not know (RFC
// 5652, Section 6.2.5). Its recipients cannot open the message; others can.
//
//	OtherRecipientInfo ::= SEQUENCE {
//	  oriType OBJECT IDENTIFIER,
//	  oriValue ANY DEFINED BY oriType }
type OtherRecipientInfo struct {
	Type  OID
	Value []byte // a whole DER element
}

// String implements RecipientInfo.
func (o *OtherRecipientInfo) String() string { return "other recipient of type " + alg.Name(o.Type) }

func (o *OtherRecipientInfo) minVersion() int { return 3 }

func (o *OtherRecipientInfo) add(b *der.Builder) {
	b.AddASN1(der.Context(4, true), func(b *der.Builder) {
		der.AddOID(b, o.Type)
		b.AddBytes(o.Value)
	})
}

func readOther(s cryptobyte.String) (RecipientInfo, error) {
	o := &OtherRecipientInfo{}
	var value cryptobyte.String
	var tag asn1.Tag
	if !der.ReadOID(&s, &o.Type) || (!s.Empty() && !s.ReadAnyASN1Element(&value, &tag)) || !s.Empty() {
		return nil, malformed("OtherRecipientInfo")
	}
	if o.Type == oid.ORIKEM {
		return readKEM(value)
	}
	o.Value = value
	return o, nil
}

// parseRecipientInfo reads one RecipientInfo from its DER.
func parseRecipientInfo(raw []byte) (RecipientInfo, error) {
	s := cryptobyte.String(raw)
	var body cryptobyte.String
	var tag asn1.Tag
	if !s.ReadAnyASN1(&body, &tag) || !s.Empty() {
		return nil, malformed("RecipientInfo")
	}
	switch tag {
	case asn1.SEQUENCE:
		return readKeyTrans(body)
	case der.Context(1, true):
		return readKeyAgree(body)
	case der.Context(2, true):
		return readKEK(body)
	case der.Context(3, true):
		return readPassword(body)
	case der.Context(4, true):
		return readOther(body)
	}
	return nil, malformed("RecipientInfo")
}

// readRecipientInfos reads the field RecipientInfos. Its recipients that are
// malformed are an error: a message in which one can hide from another is not
// worth opening.
func readRecipientInfos(r *ber.Reader, budget *budget) ([]RecipientInfo, error) {
	if err := r.Enter(ber.Set); err != nil {
		return nil, wire(err, "recipientInfos")
	}
	var out []RecipientInfo
	for {
		raw, err := budget.next(r, "RecipientInfo")
		if err != nil {
			return nil, err
		}
		if raw == nil {
			break
		}
		if len(out) == budget.limits.Recipients {
			return nil, &LimitError{Limit: "number of recipients", Max: int64(budget.limits.Recipients)}
		}
		info, err := parseRecipientInfo(raw)
		if err != nil {
			return nil, err
		}
		out = append(out, info)
	}
	return out, wire(r.Leave(), "recipientInfos")
}

// unwrap finds the key of a message. failed tells that an identity was a
// recipient and could not open: the key is then random, so that what follows
// takes the same course as with a wrong key (RFC 3218, Section 2.3.2).
func unwrap(ids []Identity, infos []RecipientInfo, cekLen int) (cek []byte, failed bool, err error) {
	matched := false
	var other error
	for _, id := range ids {
		cek, err = id.Unwrap(infos, cekLen)
		if err == nil && (cekLen == 0 || len(cek) == cekLen) {
			return cek, false, nil
		}
		switch _, unsupported := err.(*UnsupportedError); {
		case err == ErrNoMatch:
		case err == nil, err == ErrDecrypt:
			matched = true
		case unsupported, other == nil:
			other = err
		}
	}
	if matched {
		size := cekLen
		if size == 0 {
			size = 16
		}
		cek = make([]byte, size)
		_, _ = rand.Read(cek) // never returns an error
		return cek, true, nil
	}
	if other != nil {
		return nil, false, other
	}
	return nil, false, &NoMatchError{Recipients: infos}
}
