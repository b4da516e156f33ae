package aead

import (
	"errors"
	"testing"
)

// both calls f with a fresh stream of each cipher.
func both(t *testing.T, f func(t *testing.T, s Stream)) {
	t.Helper()
	t.Run("GCM", func(t *testing.T) {
		s, err := NewGCM(make([]byte, 16), make([]byte, 12))
		if err != nil {
			t.Fatal(err)
		}
		f(t, s)
	})
	t.Run("ChaCha20Poly1305", func(t *testing.T) {
		s, err := NewChaCha20Poly1305(make([]byte, 32), make([]byte, 12), []byte("aad"))
		if err != nil {
			t.Fatal(err)
		}
		f(t, s)
	})
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func TestOrder(t *testing.T) {
	aad, buf := []byte("aad"), make([]byte, 40)
	both(t, func(t *testing.T, s Stream) {
		wantErr(t, "Seal", s.Seal(buf, buf), nil)
		wantErr(t, "Absorb after Seal", s.Absorb(buf), ErrOrder)
		_, err := s.Tag(aad)
		wantErr(t, "Tag", err, nil)
		_, err = s.Tag(aad)
		wantErr(t, "Tag after Tag", err, ErrOrder)
		wantErr(t, "Seal after Tag", s.Seal(buf, buf), ErrOrder)
		wantErr(t, "Absorb after Tag", s.Absorb(buf), ErrOrder)
		wantErr(t, "Open after Tag", s.Open(buf, buf), nil)
	})
	both(t, func(t *testing.T, s Stream) {
		wantErr(t, "Absorb", s.Absorb(buf), nil)
		wantErr(t, "Seal after Absorb", s.Seal(buf, buf), ErrOrder)
	})
	both(t, func(t *testing.T, s Stream) {
		wantErr(t, "Seal", s.Seal(buf[:1], buf), ErrShortDst)
		wantErr(t, "Open", s.Open(buf[:1], buf), ErrShortDst)
	})
}

func TestLateAAD(t *testing.T) {
	both(t, func(t *testing.T, s Stream) {
		_, err := s.Tag([]byte("other"))
		if s.LateAAD() {
			wantErr(t, "Tag with any additional data", err, nil)
			return
		}
		wantErr(t, "Tag with other additional data", err, ErrLateAAD)
		_, err = s.Tag([]byte("aad"))
		wantErr(t, "Tag with the same additional data", err, nil)
	})
}

func TestLimit(t *testing.T) {
	for _, n := range []int{16, 40} {
		last := make([]byte, n)
		both(t, func(t *testing.T, s Stream) {
			moveTo(s, int64(n))
			wantErr(t, "Seal of the last octets", s.Seal(last, last), nil)
			wantErr(t, "Seal of one more", s.Seal(last[:1], last[:1]), ErrLimit)
			wantErr(t, "Seal of nothing after it", s.Seal(nil, nil), ErrLimit)
			_, err := s.Tag([]byte("aad"))
			wantErr(t, "Tag after it", err, ErrLimit)
			wantErr(t, "Open of the last octets", s.Open(last, last), nil)
			wantErr(t, "Open of one more", s.Open(last[:1], last[:1]), ErrLimit)
			limit := int64(gcmLimit)
			if !s.LateAAD() {
				limit = chachaLimit
			}
			wantErr(t, "OpenAt of the last octets", s.OpenAt(last, last, limit-int64(n)), nil)
			wantErr(t, "OpenAt of one more", s.OpenAt(last[:1], last[:1], limit), ErrLimit)
			wantErr(t, "OpenAt before the start", s.OpenAt(last, last, -1), ErrLimit)
			wantErr(t, "OpenAt without room", s.OpenAt(nil, last, 0), ErrShortDst)
		})
		both(t, func(t *testing.T, s Stream) {
			moveTo(s, int64(n))
			wantErr(t, "Absorb of the last octets", s.Absorb(last), nil)
			wantErr(t, "Absorb of one more", s.Absorb(last[:1]), ErrLimit)
			_, err := s.Tag([]byte("aad"))
			wantErr(t, "Tag after it", err, ErrLimit)
		})
	}
}

// moveTo moves a fresh stream to where left octets are left below the limit.
func moveTo(s Stream, left int64) {
	switch s := s.(type) {
	case *gcmStream:
		s.fed, s.opened = gcmLimit-left, gcmLimit-left
	case *chachaStream:
		s.fed, s.opened = chachaLimit-left, chachaLimit-left
		s.sealer, _ = s.cipherAtOne()
		s.opener, _ = s.cipherAtOne()
		s.sealer.SetCounter(0xffffffff)
		s.opener.SetCounter(0xffffffff)
	}
}
