package mailtest

import (
	"context"
	cryptotls "crypto/tls"
	"io"
	"net"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestServe comes to TLS with the configurations of a Host, and waits for what
// serves.
func TestServe(t *testing.T) {
	h := NewHost(t)
	ended := false
	t.Run("serving", func(t *testing.T) {
		addr := Serve(t, Listen(t), func(ctx context.Context, conn net.Conn) {
			over := cryptotls.Server(conn, h.Server)
			_, _ = io.WriteString(over, "hello")
			<-ctx.Done()
			ended = over.Close() == nil
		})
		conn, err := cryptotls.Dial("tcp", addr, h.Client)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		got := make([]byte, 5)
		if _, err = io.ReadFull(conn, got); err != nil || string(got) != "hello" {
			t.Errorf("%q %v", got, err)
		}
	})
	if !ended {
		t.Error("nobody waited")
	}
}

// TestFill fills fields of all kinds.
func TestFill(t *testing.T) {
	var v struct {
		A string
		B bool
		C func() error
		D *int
		E error
		F struct{ G int }
		i int
	}
	Fill(&v, io.EOF)
	if v.A == "" || !v.B || v.C == nil || v.D == nil || v.E != io.EOF || v.F.G == 0 || v.i != 0 {
		t.Errorf("%+v", v)
	}
}
