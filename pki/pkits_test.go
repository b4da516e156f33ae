package pki

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// A pkitsTest is a test of the NIST Public Key Interoperability Test Suite: its
// certificate, and the settings and the result of its parts.
type pkitsTest struct {
	section string // "4.1.1"
	file    string // without "EE.crt"
	parts   []pkitsPart
}

// A pkitsPart has the initial settings of Section 3 of NIST's document: the
// policies as digits ("" is any-policy), and the flags E, M and A for
// initial-explicit-policy, initial-policy-mapping-inhibit and
// initial-inhibit-any-policy.
type pkitsPart struct {
	policies, flags string
	want            Reason // 0: the path is valid
}

// good and bad are tests with the default settings.
func good(section, file string) pkitsTest { return pkitsTest{section, file, []pkitsPart{{}}} }

func bad(section, file string, want Reason) pkitsTest {
	return pkitsTest{section, file, []pkitsPart{{want: want}}}
}

func settings(section, file string, parts ...pkitsPart) pkitsTest {
	return pkitsTest{section, file, parts}
}

// pkitsCounts is how many tests and parts each section has. Section 4.5 is here
// with its valid paths, and 4.7 with keyCertSign; the rest of those, and 4.4,
// 4.14 and 4.15 are about revocation.
var pkitsCounts = map[string][2]int{
	"4.1": {6, 6}, "4.2": {8, 8}, "4.3": {11, 11}, "4.5": {4, 4}, "4.6": {17, 17}, "4.7": {3, 3}, "4.8": {20, 35},
	"4.9": {8, 8}, "4.10": {14, 23}, "4.11": {11, 11}, "4.12": {10, 11}, "4.13": {38, 38}, "4.16": {2, 2},
}

var pkitsTests = []pkitsTest{
	good("4.1.1", "ValidCertificatePathTest1"),
	bad("4.1.2", "InvalidCASignatureTest2", BadSignature),
	bad("4.1.3", "InvalidEESignatureTest3", BadSignature),
	good("4.1.4", "ValidDSASignaturesTest4"),
	good("4.1.5", "ValidDSAParameterInheritanceTest5"),
	bad("4.1.6", "InvalidDSASignatureTest6", BadSignature),

	bad("4.2.1", "InvalidCAnotBeforeDateTest1", NotYetValid),
	bad("4.2.2", "InvalidEEnotBeforeDateTest2", NotYetValid),
	good("4.2.3", "Validpre2000UTCnotBeforeDateTest3"),
	good("4.2.4", "ValidGeneralizedTimenotBeforeDateTest4"),
	bad("4.2.5", "InvalidCAnotAfterDateTest5", Expired),
	bad("4.2.6", "InvalidEEnotAfterDateTest6", Expired),
	bad("4.2.7", "Invalidpre2000UTCEEnotAfterDateTest7", Expired),
	good("4.2.8", "ValidGeneralizedTimenotAfterDateTest8"),

	bad("4.3.1", "InvalidNameChainingTest1", UnknownIssuer),
	bad("4.3.2", "InvalidNameChainingOrderTest2", UnknownIssuer),
	good("4.3.3", "ValidNameChainingWhitespaceTest3"),
	good("4.3.4", "ValidNameChainingWhitespaceTest4"),
	good("4.3.5", "ValidNameChainingCapitalizationTest5"),
	good("4.3.6", "ValidNameUIDsTest6"),
	good("4.3.7", "ValidRFC3280MandatoryAttributeTypesTest7"),
	good("4.3.8", "ValidRFC3280OptionalAttributeTypesTest8"),
	good("4.3.9", "ValidUTF8StringEncodedNamesTest9"),
	good("4.3.10", "ValidRolloverfromPrintableStringtoUTF8StringTest10"),
	good("4.3.11", "ValidUTF8StringCaseInsensitiveMatchTest11"),

	good("4.5.1", "ValidBasicSelfIssuedOldWithNewTest1"),
	good("4.5.3", "ValidBasicSelfIssuedNewWithOldTest3"),
	good("4.5.4", "ValidBasicSelfIssuedNewWithOldTest4"),
	good("4.5.6", "ValidBasicSelfIssuedCRLSigningKeyTest6"),

	bad("4.6.1", "InvalidMissingbasicConstraintsTest1", Constraint),
	bad("4.6.2", "InvalidcAFalseTest2", Constraint),
	bad("4.6.3", "InvalidcAFalseTest3", Constraint),
	good("4.6.4", "ValidbasicConstraintsNotCriticalTest4"),
	bad("4.6.5", "InvalidpathLenConstraintTest5", Constraint),
	bad("4.6.6", "InvalidpathLenConstraintTest6", Constraint),
	good("4.6.7", "ValidpathLenConstraintTest7"),
	good("4.6.8", "ValidpathLenConstraintTest8"),
	bad("4.6.9", "InvalidpathLenConstraintTest9", Constraint),
	bad("4.6.10", "InvalidpathLenConstraintTest10", Constraint),
	bad("4.6.11", "InvalidpathLenConstraintTest11", Constraint),
	bad("4.6.12", "InvalidpathLenConstraintTest12", Constraint),
	good("4.6.13", "ValidpathLenConstraintTest13"),
	good("4.6.14", "ValidpathLenConstraintTest14"),
	good("4.6.15", "ValidSelfIssuedpathLenConstraintTest15"),
	bad("4.6.16", "InvalidSelfIssuedpathLenConstraintTest16", Constraint),
	good("4.6.17", "ValidSelfIssuedpathLenConstraintTest17"),

	bad("4.7.1", "InvalidkeyUsageCriticalkeyCertSignFalseTest1", Constraint),
	bad("4.7.2", "InvalidkeyUsageNotCriticalkeyCertSignFalseTest2", Constraint),
	good("4.7.3", "ValidkeyUsageNotCriticalTest3"),

	settings("4.8.1", "ValidCertificatePathTest1", pkitsPart{"", "E", 0}, pkitsPart{"1", "E", 0}, pkitsPart{"2", "E", Policy}, pkitsPart{"12", "E", 0}),
	settings("4.8.2", "AllCertificatesNoPoliciesTest2", pkitsPart{}, pkitsPart{"", "E", Policy}),
	settings("4.8.3", "DifferentPoliciesTest3", pkitsPart{}, pkitsPart{"", "E", Policy}, pkitsPart{"12", "E", Policy}),
	bad("4.8.4", "DifferentPoliciesTest4", Policy),
	bad("4.8.5", "DifferentPoliciesTest5", Policy),
	settings("4.8.6", "OverlappingPoliciesTest6", pkitsPart{}, pkitsPart{"1", "", 0}, pkitsPart{"2", "", Policy}),
	bad("4.8.7", "DifferentPoliciesTest7", Policy),
	bad("4.8.8", "DifferentPoliciesTest8", Policy),
	bad("4.8.9", "DifferentPoliciesTest9", Policy),
	settings("4.8.10", "AllCertificatesSamePoliciesTest10", pkitsPart{}, pkitsPart{"1", "", 0}, pkitsPart{"2", "", 0}),
	settings("4.8.11", "AllCertificatesanyPolicyTest11", pkitsPart{}, pkitsPart{"1", "", 0}),
	bad("4.8.12", "DifferentPoliciesTest12", Policy),
	settings("4.8.13", "AllCertificatesSamePoliciesTest13", pkitsPart{"1", "", 0}, pkitsPart{"2", "", 0}, pkitsPart{"3", "", 0}),
	settings("4.8.14", "AnyPolicyTest14", pkitsPart{"1", "", 0}, pkitsPart{"2", "", Policy}),
	good("4.8.15", "UserNoticeQualifierTest15"),
	good("4.8.16", "UserNoticeQualifierTest16"),
	good("4.8.17", "UserNoticeQualifierTest17"),
	settings("4.8.18", "UserNoticeQualifierTest18", pkitsPart{"1", "", 0}, pkitsPart{"2", "", 0}),
	good("4.8.19", "UserNoticeQualifierTest19"),
	settings("4.8.20", "CPSPointerQualifierTest20", pkitsPart{"1", "E", 0}),

	good("4.9.1", "ValidrequireExplicitPolicyTest1"),
	good("4.9.2", "ValidrequireExplicitPolicyTest2"),
	bad("4.9.3", "InvalidrequireExplicitPolicyTest3", Policy),
	good("4.9.4", "ValidrequireExplicitPolicyTest4"),
	bad("4.9.5", "InvalidrequireExplicitPolicyTest5", Policy),
	good("4.9.6", "ValidSelfIssuedrequireExplicitPolicyTest6"),
	bad("4.9.7", "InvalidSelfIssuedrequireExplicitPolicyTest7", Policy),
	bad("4.9.8", "InvalidSelfIssuedrequireExplicitPolicyTest8", Policy),

	settings("4.10.1", "ValidPolicyMappingTest1", pkitsPart{"1", "", 0}, pkitsPart{"2", "", Policy}, pkitsPart{"", "M", Policy}),
	settings("4.10.2", "InvalidPolicyMappingTest2", pkitsPart{want: Policy}, pkitsPart{"", "M", Policy}),
	settings("4.10.3", "ValidPolicyMappingTest3", pkitsPart{"1", "", Policy}, pkitsPart{"2", "", 0}),
	bad("4.10.4", "InvalidPolicyMappingTest4", Policy),
	settings("4.10.5", "ValidPolicyMappingTest5", pkitsPart{"1", "", 0}, pkitsPart{"6", "", Policy}),
	settings("4.10.6", "ValidPolicyMappingTest6", pkitsPart{"1", "", 0}, pkitsPart{"6", "", Policy}),
	bad("4.10.7", "InvalidMappingFromanyPolicyTest7", Policy),
	bad("4.10.8", "InvalidMappingToanyPolicyTest8", Policy),
	good("4.10.9", "ValidPolicyMappingTest9"),
	bad("4.10.10", "InvalidPolicyMappingTest10", Policy),
	good("4.10.11", "ValidPolicyMappingTest11"),
	settings("4.10.12", "ValidPolicyMappingTest12", pkitsPart{"1", "", 0}, pkitsPart{"2", "", 0}),
	settings("4.10.13", "ValidPolicyMappingTest13", pkitsPart{}, pkitsPart{"12", "", 0}, pkitsPart{"2", "", Policy}),
	good("4.10.14", "ValidPolicyMappingTest14"),

	bad("4.11.1", "InvalidinhibitPolicyMappingTest1", Policy),
	good("4.11.2", "ValidinhibitPolicyMappingTest2"),
	bad("4.11.3", "InvalidinhibitPolicyMappingTest3", Policy),
	good("4.11.4", "ValidinhibitPolicyMappingTest4"),
	bad("4.11.5", "InvalidinhibitPolicyMappingTest5", Policy),
	bad("4.11.6", "InvalidinhibitPolicyMappingTest6", Policy),
	good("4.11.7", "ValidSelfIssuedinhibitPolicyMappingTest7"),
	bad("4.11.8", "InvalidSelfIssuedinhibitPolicyMappingTest8", Policy),
	bad("4.11.9", "InvalidSelfIssuedinhibitPolicyMappingTest9", Policy),
	bad("4.11.10", "InvalidSelfIssuedinhibitPolicyMappingTest10", Policy),
	bad("4.11.11", "InvalidSelfIssuedinhibitPolicyMappingTest11", Policy),

	bad("4.12.1", "InvalidinhibitAnyPolicyTest1", Policy),
	good("4.12.2", "ValidinhibitAnyPolicyTest2"),
	settings("4.12.3", "inhibitAnyPolicyTest3", pkitsPart{}, pkitsPart{"", "A", Policy}),
	bad("4.12.4", "InvalidinhibitAnyPolicyTest4", Policy),
	bad("4.12.5", "InvalidinhibitAnyPolicyTest5", Policy),
	bad("4.12.6", "InvalidinhibitAnyPolicyTest6", Policy),
	good("4.12.7", "ValidSelfIssuedinhibitAnyPolicyTest7"),
	bad("4.12.8", "InvalidSelfIssuedinhibitAnyPolicyTest8", Policy),
	good("4.12.9", "ValidSelfIssuedinhibitAnyPolicyTest9"),
	bad("4.12.10", "InvalidSelfIssuedinhibitAnyPolicyTest10", Policy),

	good("4.13.1", "ValidDNnameConstraintsTest1"),
	bad("4.13.2", "InvalidDNnameConstraintsTest2", Constraint),
	bad("4.13.3", "InvalidDNnameConstraintsTest3", Constraint),
	good("4.13.4", "ValidDNnameConstraintsTest4"),
	good("4.13.5", "ValidDNnameConstraintsTest5"),
	good("4.13.6", "ValidDNnameConstraintsTest6"),
	bad("4.13.7", "InvalidDNnameConstraintsTest7", Constraint),
	bad("4.13.8", "InvalidDNnameConstraintsTest8", Constraint),
	bad("4.13.9", "InvalidDNnameConstraintsTest9", Constraint),
	bad("4.13.10", "InvalidDNnameConstraintsTest10", Constraint),
	good("4.13.11", "ValidDNnameConstraintsTest11"),
	bad("4.13.12", "InvalidDNnameConstraintsTest12", Constraint),
	bad("4.13.13", "InvalidDNnameConstraintsTest13", Constraint),
	good("4.13.14", "ValidDNnameConstraintsTest14"),
	bad("4.13.15", "InvalidDNnameConstraintsTest15", Constraint),
	bad("4.13.16", "InvalidDNnameConstraintsTest16", Constraint),
	bad("4.13.17", "InvalidDNnameConstraintsTest17", Constraint),
	good("4.13.18", "ValidDNnameConstraintsTest18"),
	good("4.13.19", "ValidDNnameConstraintsTest19"),
	bad("4.13.20", "InvalidDNnameConstraintsTest20", Constraint),
	good("4.13.21", "ValidRFC822nameConstraintsTest21"),
	bad("4.13.22", "InvalidRFC822nameConstraintsTest22", Constraint),
	good("4.13.23", "ValidRFC822nameConstraintsTest23"),
	bad("4.13.24", "InvalidRFC822nameConstraintsTest24", Constraint),
	good("4.13.25", "ValidRFC822nameConstraintsTest25"),
	bad("4.13.26", "InvalidRFC822nameConstraintsTest26", Constraint),
	good("4.13.27", "ValidDNandRFC822nameConstraintsTest27"),
	bad("4.13.28", "InvalidDNandRFC822nameConstraintsTest28", Constraint),
	bad("4.13.29", "InvalidDNandRFC822nameConstraintsTest29", Constraint),
	good("4.13.30", "ValidDNSnameConstraintsTest30"),
	bad("4.13.31", "InvalidDNSnameConstraintsTest31", Constraint),
	good("4.13.32", "ValidDNSnameConstraintsTest32"),
	bad("4.13.33", "InvalidDNSnameConstraintsTest33", Constraint),
	good("4.13.34", "ValidURInameConstraintsTest34"),
	bad("4.13.35", "InvalidURInameConstraintsTest35", Constraint),
	good("4.13.36", "ValidURInameConstraintsTest36"),
	bad("4.13.37", "InvalidURInameConstraintsTest37", Constraint),
	bad("4.13.38", "InvalidDNSnameConstraintsTest38", Constraint),

	good("4.16.1", "ValidUnknownNotCriticalCertificateExtensionTest1"),
	bad("4.16.2", "InvalidUnknownCriticalCertificateExtensionTest2", Unsupported),
}

// pkitsOptions are what the suite asks for: its certificates are of 2001 to
// 2011, with SHA-1, RSA of 1,024 bits and DSA, and not for mail.
func (p pkitsPart) options(others []*Certificate) ChainOptions {
	opts := ChainOptions{
		Time: time.Date(2005, 1, 1, 0, 0, 0, 0, time.UTC), Intermediates: others, Purpose: AnyPurpose,
		Allow:                 []string{"sha1", "dsa", "rsa1024"},
		RequireExplicitPolicy: strings.Contains(p.flags, "E"), InhibitPolicyMapping: strings.Contains(p.flags, "M"),
		InhibitAnyPolicy: strings.Contains(p.flags, "A"),
	}
	for _, digit := range p.policies {
		opts.Policies = append(opts.Policies, "2.16.840.1.101.3.2.1.48."+string(digit))
	}
	return opts
}

// TestPKITS runs the suite. Paths are built from all certificates of it: those
// that are invalid stay so whatever else is there.
func TestPKITS(t *testing.T) {
	certs := readCerts(t, "pkits/certs/*.crt")
	anchor := certs["TrustAnchorRootCertificate.crt"]
	bare, err := NewAnchor(anchor.RawSubject, anchor.RawSPKI)
	if err != nil {
		t.Fatal(err)
	}
	var others []*Certificate
	for name, c := range certs {
		if c != anchor && !strings.HasSuffix(name, "EE.crt") {
			others = append(others, c)
		}
	}
	counts := make(map[string][2]int)
	for _, test := range pkitsTests {
		leaf := certs[test.file+"EE.crt"]
		if leaf == nil {
			t.Errorf("%s: there is no certificate %s", test.section, test.file)
			continue
		}
		section := test.section[:strings.LastIndexByte(test.section, '.')]
		count := counts[section]
		count[0]++
		for _, part := range test.parts {
			count[1]++
			for _, root := range []*Certificate{anchor, bare} {
				chain, fail := NewRoots([]*Certificate{root}).Verify(leaf, part.options(others))
				checkPKITS(t, test, part, chain, fail, root == bare)
			}
		}
		counts[section] = count
	}
	for section, want := range pkitsCounts {
		if counts[section] != want {
			t.Errorf("section %s: %d tests with %d parts, want %d with %d", section, counts[section][0], counts[section][1], want[0], want[1])
		}
		t.Logf("section %-5s %3d tests, %3d parts", section, counts[section][0], counts[section][1])
	}
}

func checkPKITS(t *testing.T, test pkitsTest, part pkitsPart, chain []*Certificate, err error, quiet bool) {
	t.Helper()
	var fault *ChainError
	result := "valid"
	got := Reason(0)
	if errors.As(err, &fault) {
		got, result = fault.Reason, err.Error()
	}
	mark := "ok"
	if got != part.want || (err == nil) != (len(chain) > 1) {
		mark = "WRONG"
		t.Errorf("%s %s %q %s: %v, want %v", test.section, test.file, part.policies, part.flags, err, part.want)
	}
	if !quiet {
		nist := "valid"
		if part.want != 0 {
			nist = "invalid"
		}
		t.Logf("%-5s %-7s %-52s policies %-3s flags %-2s NIST: %-8s ours: %s", mark, test.section, test.file, part.policies, part.flags, nist, result)
	}
}
