package policy

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func sign(s Sign) *Sign          { return &s }
func encrypt(e Encrypt) *Encrypt { return &e }

// TestFor tries which rule wins.
func TestFor(t *testing.T) {
	rules := []Rule{
		{Sign: sign(SignIfPossible), Encrypt: encrypt(EncryptIfPossible)},
		{Sender: "example.org", Sign: sign(SignAlways)},
		{Recipient: "@partner.example", Encrypt: encrypt(EncryptRequire)},
		{Recipient: "news@partner.example", Encrypt: encrypt(EncryptNever), Sign: sign(SignNever)},
		{Sender: "boss@Example.ORG", Recipient: "partner.example", Encrypt: encrypt(EncryptRequire)},
		{Sender: "robot@example.org", Sign: sign(SignNever)},
	}
	for _, tc := range []struct {
		from, to string
		want     Treatment
	}{
		{"a@other.example", "b@other.example", Treatment{SignIfPossible, EncryptIfPossible}},
		{"a@example.org", "b@other.example", Treatment{SignAlways, EncryptIfPossible}},
		{"a@sub.example.org", "b@other.example", Treatment{SignIfPossible, EncryptIfPossible}},
		{"a@EXAMPLE.org", "b@Partner.Example", Treatment{SignAlways, EncryptRequire}},
		// Its own rule for the recipient is more specific than that of its domain.
		{"a@other.example", "news@partner.example", Treatment{SignNever, EncryptNever}},
		// Address and domain, 3, against an address alone, 2.
		{"boss@example.org", "news@partner.example", Treatment{SignNever, EncryptRequire}},
		{"robot@example.org", "b@other.example", Treatment{SignNever, EncryptIfPossible}},
		// Local parts are compared with case (RFC 5321, Section 2.4).
		{"Robot@example.org", "b@other.example", Treatment{SignAlways, EncryptIfPossible}},
		{"", "b@other.example", Treatment{SignIfPossible, EncryptIfPossible}},
	} {
		for range 5 { // the order of rules does not matter
			shuffled := slices.Clone(rules)
			rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			r, err := New(shuffled)
			if err != nil {
				t.Fatal(err)
			}
			if got := r.For(tc.from, tc.to); got != tc.want {
				t.Errorf("%s to %s: sign %v, encrypt %v; want %v, %v", tc.from, tc.to, got.Sign, got.Encrypt, tc.want.Sign, tc.want.Encrypt)
			}
		}
	}
}

// TestTie has two rules that are equally specific: the one that asks for more
// wins.
func TestTie(t *testing.T) {
	r, err := New([]Rule{
		{Sender: "a@example.org", Encrypt: encrypt(EncryptNever), Sign: sign(SignAlways)},
		{Recipient: "b@example.org", Encrypt: encrypt(EncryptRequire), Sign: sign(SignNever)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.For("a@example.org", "b@example.org"); got != (Treatment{SignAlways, EncryptRequire}) {
		t.Errorf("%v %v", got.Sign, got.Encrypt)
	}
}

func TestPatterns(t *testing.T) {
	for _, bad := range []string{"@", "a@", "a b.example", "a@b@", "x@ example.org", "a\x00.example"} {
		_, err := New([]Rule{{}, {Recipient: bad}})
		var pe *PatternError
		if !errors.As(err, &pe) || pe.Rule != 1 || pe.Pattern != bad {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestValues(t *testing.T) {
	for _, s := range []Sign{SignNever, SignIfPossible, SignAlways} {
		var got Sign
		if err := got.UnmarshalText([]byte(s.String())); err != nil || got != s {
			t.Errorf("%v: %v, %v", s, got, err)
		}
	}
	for _, e := range []Encrypt{EncryptNever, EncryptIfPossible, EncryptRequire} {
		var got Encrypt
		if err := got.UnmarshalText([]byte(e.String())); err != nil || got != e {
			t.Errorf("%v: %v, %v", e, got, err)
		}
	}
	var ve *ValueError
	if err := new(Encrypt).UnmarshalText([]byte("always")); !errors.As(err, &ve) {
		t.Errorf("always: %v", err)
	}
}

// show writes a plan down.
func show(copies []Copy, refusals []*Refusal) string {
	var parts []string
	for _, c := range copies {
		text := strings.Join(c.Recipients, "+")
		if c.Sign {
			text += " signed"
		}
		if c.Encrypt {
			text += " encrypted"
		}
		parts = append(parts, text)
	}
	for _, r := range refusals {
		parts = append(parts, fmt.Sprintf("%s refused %d", r.Recipient, r.Reason))
	}
	return strings.Join(parts, "; ")
}

func TestPlan(t *testing.T) {
	r, err := New([]Rule{
		{Sign: sign(SignIfPossible), Encrypt: encrypt(EncryptIfPossible)},
		{Recipient: "strict.example", Encrypt: encrypt(EncryptRequire)},
		{Recipient: "signed.example", Sign: sign(SignAlways)},
		{Recipient: "plain.example", Encrypt: encrypt(EncryptNever), Sign: sign(SignNever)},
		{Sender: "boss@example.org", Encrypt: encrypt(EncryptRequire)},
	})
	if err != nil {
		t.Fatal(err)
	}
	me, nobody := Sender{Address: "me@example.org", Identity: true}, Sender{Address: "me@example.org"}
	with := func(addr string) Recipient { return Recipient{Address: addr, Certificate: true} }
	without := func(addr string) Recipient { return Recipient{Address: addr} }
	hidden := func(r Recipient) Recipient { r.Hidden = true; return r }
	for _, tc := range []struct {
		name string
		from Sender
		to   []Recipient
		wish Wish
		want string
	}{
		{"all can", me, []Recipient{with("a@x"), with("b@y")}, Wish{}, "a@x+b@y signed encrypted"},
		{"one cannot", me, []Recipient{with("a@x"), without("b@y"), with("c@z")}, Wish{}, "a@x+c@z signed encrypted; b@y signed"},
		{"no identity", nobody, []Recipient{with("a@x"), without("b@y")}, Wish{}, "a@x encrypted; b@y"},
		{"hidden", me, []Recipient{with("a@x"), hidden(with("b@y")), hidden(with("c@z")), with("d@x")}, Wish{},
			"a@x+d@x signed encrypted; b@y signed encrypted; c@z signed encrypted"},
		{"hidden first", me, []Recipient{hidden(with("b@y")), with("a@x")}, Wish{}, "b@y signed encrypted; a@x signed encrypted"},
		{"hidden and clear", me, []Recipient{without("a@x"), hidden(without("b@y"))}, Wish{}, "a@x+b@y signed"},
		{"never", me, []Recipient{with("a@plain.example")}, Wish{}, "a@plain.example"},
		{"required", me, []Recipient{with("a@strict.example"), without("b@strict.example")}, Wish{}, "a@strict.example signed encrypted; b@strict.example refused 1"},
		{"has to be signed", nobody, []Recipient{with("a@signed.example")}, Wish{}, "a@signed.example refused 2"},
		{"asked for encryption", me, []Recipient{with("a@plain.example"), without("b@y")}, Wish{Encrypt: true}, "a@plain.example encrypted; b@y refused 1"},
		{"asked for a signature", nobody, []Recipient{with("a@x")}, Wish{Sign: true}, "a@x refused 2"},
		{"nobody", me, nil, Wish{}, ""},
		{"two senders", Sender{Address: "me@example.org", Also: "boss@example.org", Identity: true}, []Recipient{without("a@x")}, Wish{}, "a@x refused 1"},
	} {
		if got := show(r.Plan(tc.from, tc.to, tc.wish)); got != tc.want {
			t.Errorf("%s: %s; want %s", tc.name, got, tc.want)
		}
	}
}

// TestPlanProperties holds for any rules: everybody is in one place, nobody who
// requires encryption gets a clear copy, and hidden recipients are alone.
func TestPlanProperties(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	domains := []string{"a.example", "b.example", "c.example"}
	seen := 0
	for range 3000 {
		var rules []Rule
		for range random.IntN(6) {
			rule := Rule{Encrypt: encrypt(Encrypt(random.IntN(3))), Sign: sign(Sign(random.IntN(3)))}
			if random.IntN(2) == 0 {
				rule.Recipient = domains[random.IntN(3)]
			}
			rules = append(rules, rule)
		}
		r, err := New(rules)
		if err != nil {
			t.Fatal(err)
		}
		from := Sender{Address: "me@example.org", Identity: random.IntN(2) == 0}
		wish := Wish{Sign: random.IntN(8) == 0, Encrypt: random.IntN(8) == 0}
		var to []Recipient
		for i := range random.IntN(8) {
			to = append(to, Recipient{Address: fmt.Sprintf("r%d@%s", i, domains[random.IntN(3)]), Hidden: random.IntN(3) == 0, Certificate: random.IntN(2) == 0})
		}
		copies, refusals := r.Plan(from, to, wish)
		count := make(map[string]int)
		for _, refusal := range refusals {
			count[refusal.Recipient]++
		}
		for _, c := range copies {
			for _, addr := range c.Recipients {
				count[addr]++
				one := to[slices.IndexFunc(to, func(r Recipient) bool { return r.Address == addr })]
				want := r.For(from.Address, addr)
				if !c.Encrypt && (want.Encrypt == EncryptRequire || wish.Encrypt) || !c.Sign && (want.Sign == SignAlways || wish.Sign) {
					t.Fatalf("%s gets less than it has to", addr)
				}
				if c.Encrypt && one.Hidden && len(c.Recipients) > 1 {
					t.Fatalf("%s is hidden, and others learn of it", addr)
				}
				if c.Encrypt && !one.Certificate || c.Sign && !from.Identity {
					t.Fatalf("%s gets what cannot be", addr)
				}
			}
		}
		for _, one := range to {
			seen++
			if count[one.Address] != 1 {
				t.Fatalf("%s is in %d places", one.Address, count[one.Address])
			}
		}
	}
	if seen < 5000 {
		t.Errorf("only %d recipients were looked at", seen)
	}
}

func TestWish(t *testing.T) {
	tags := Tags{Sign: "[sign]", Encrypt: "[encrypt]", Field: "X-Postseal"}
	for _, tc := range []struct {
		subject string
		wish    Wish
		rest    string
	}{
		{"Hello", Wish{}, "Hello"},
		{"[Encrypt] Hello", Wish{Encrypt: true}, "Hello"},
		{" [sign][ENCRYPT]  Hello", Wish{Sign: true, Encrypt: true}, "Hello"},
		{"Hello [encrypt]", Wish{}, "Hello [encrypt]"},
		{"Re: [encrypt] Hello", Wish{}, "Re: [encrypt] Hello"},
		{"[encrypt]", Wish{Encrypt: true}, ""},
		{"", Wish{}, ""},
	} {
		if wish, rest := tags.FromSubject(tc.subject); wish != tc.wish || rest != tc.rest {
			t.Errorf("%q: %v, %q", tc.subject, wish, rest)
		}
		if wish, rest := (Tags{}).FromSubject(tc.subject); wish != (Wish{}) || rest != tc.subject {
			t.Errorf("%q without tags: %v, %q", tc.subject, wish, rest)
		}
	}
	if w, err := tags.FromField("Sign, encrypt"); err != nil || w != (Wish{Sign: true, Encrypt: true}) {
		t.Errorf("field: %v, %v", w, err)
	}
	var ve *ValueError
	if _, err := tags.FromField("encrpyt"); !errors.As(err, &ve) {
		t.Errorf("a word with a mistake: %v", err)
	}
}

// TestPlanOne has one form for all: what one requires, the others get too, and
// what cannot be is a conflict.
func TestPlanOne(t *testing.T) {
	never, possible, always := SignNever, SignIfPossible, SignAlways
	clear, maybe, require := EncryptNever, EncryptIfPossible, EncryptRequire
	r, err := New([]Rule{
		{Sign: &possible, Encrypt: &maybe},
		{Recipient: "require.test", Encrypt: &require},
		{Recipient: "always.test", Sign: &always},
		{Recipient: "list.test", Sign: &never, Encrypt: &clear},
	})
	if err != nil {
		t.Fatal(err)
	}
	with := func(address string) Recipient { return Recipient{Address: address, Certificate: true} }
	without := func(address string) Recipient { return Recipient{Address: address} }
	hidden := func(address string) Recipient {
		return Recipient{Address: address, Certificate: true, Hidden: true}
	}
	alice := Sender{Address: "alice@example.org", Identity: true}
	for _, tc := range []struct {
		name     string
		from     Sender
		to       []Recipient
		sign     bool
		encrypt  bool
		refused  int
		conflict *ConflictError
	}{
		{name: "all can", from: alice, to: []Recipient{with("a@x.test"), with("b@x.test")}, sign: true, encrypt: true},
		{name: "one cannot", from: alice, to: []Recipient{with("a@x.test"), without("b@x.test")}, sign: true},
		{name: "one requires, all can", from: alice, to: []Recipient{with("a@require.test"), with("b@x.test")}, sign: true, encrypt: true},
		{name: "one requires, one cannot", from: alice, to: []Recipient{with("a@require.test"), without("b@x.test")}, conflict: &ConflictError{"a@require.test", "b@x.test"}},
		{name: "required and impossible", from: alice, to: []Recipient{without("a@require.test"), with("b@x.test")}, refused: 1},
		{name: "a list", from: alice, to: []Recipient{with("a@list.test")}},
		{name: "a list and another", from: alice, to: []Recipient{with("a@list.test"), with("b@x.test")}},
		{name: "a list and one who requires", from: alice, to: []Recipient{with("a@list.test"), with("b@always.test")}, conflict: &ConflictError{"b@always.test", "a@list.test"}},
		{name: "hidden alone", from: alice, to: []Recipient{hidden("a@x.test")}, sign: true, encrypt: true},
		{name: "hidden among others", from: alice, to: []Recipient{hidden("a@x.test"), with("b@x.test")}, sign: true},
		{name: "hidden among others, required", from: alice, to: []Recipient{with("a@require.test"), hidden("b@x.test")}, conflict: &ConflictError{One: "b@x.test"}},
		{name: "no identity", from: Sender{Address: "x@example.org"}, to: []Recipient{with("a@x.test")}, encrypt: true},
		{name: "no identity, always", from: Sender{Address: "x@example.org"}, to: []Recipient{with("a@always.test")}, refused: 1},
		{name: "signed already", from: Sender{Address: "alice@example.org", Signed: true}, to: []Recipient{with("a@always.test"), with("b@x.test")}},
		{name: "signed already, required", from: Sender{Address: "alice@example.org", Signed: true}, to: []Recipient{with("a@require.test")}, encrypt: true},
		{name: "signed already, one requires", from: Sender{Address: "alice@example.org", Signed: true}, to: []Recipient{with("a@require.test"), with("b@x.test")}, encrypt: true},
		{name: "nobody", from: alice, sign: true},
	} {
		c, refusals, err := r.PlanOne(tc.from, tc.to, Wish{})
		if tc.conflict != nil {
			if got, ok := errors.AsType[*ConflictError](err); !ok || *got != *tc.conflict {
				t.Errorf("%s: %v, want %v", tc.name, err, tc.conflict)
			}
			continue
		}
		if err != nil || len(refusals) != tc.refused {
			t.Errorf("%s: %v, %v", tc.name, refusals, err)
			continue
		}
		if tc.refused == 0 && (c.Sign != tc.sign || c.Encrypt != tc.encrypt || len(c.Recipients) != len(tc.to)) {
			t.Errorf("%s: %+v", tc.name, c)
		}
	}
}
