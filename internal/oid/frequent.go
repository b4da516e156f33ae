package oid

import "sync"

// frequent are the identifiers that are in most messages. They are looked up, and
// need not be made anew.
var frequent = [...]OID{
	Data, SignedData, EnvelopedData, AuthEnvelopedData,
	AttrContentType, AttrMessageDigest, AttrSigningTime, AttrSigningCertV2, AttrAlgorithmProtection, AttrSMIMECapabilities,
	SHA256, SHA384, SHA512, RSA, EC, P256, P384, Ed25519, SHA256WithRSA, ECDSAWithSHA256, ECDSAWithSHA384,
	AES128CBC, AES256CBC, AES128GCM, AES256GCM, AES128Wrap, AES256Wrap, RSAES, MGF1, ECDHSHA256KDF,
}

// A table has identifiers and their DER.
type table struct {
	toDER   map[OID]string
	fromDER map[string]OID
}

var frequents = sync.OnceValue(func() *table {
	t := &table{make(map[OID]string, len(frequent)), make(map[string]OID, len(frequent))}
	for _, o := range frequent {
		der, _ := o.appendShort(nil) // they are well formed
		t.toDER[o], t.fromDER[string(der)] = string(der), o
	}
	return t
})
