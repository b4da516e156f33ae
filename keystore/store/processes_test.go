package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/pki"
)

// Tests start this test binary again as other processes, which do one of these
// tasks with the store of POSTSEAL_STORE_PATH.
const (
	taskWrite    = "write"    // adds certificates, and says so when they are stored
	taskIdentity = "identity" // makes the store, the data key and an identity
	taskRemove   = "remove"   // removes the identities for an address
	taskOpen     = "open"     // opens the store as somebody without rights
)

func runTask(task string) error {
	ctx, path, name := context.Background(), os.Getenv("POSTSEAL_STORE_PATH"), os.Getenv("POSTSEAL_STORE_NAME")
	if task == taskOpen {
		return openWithoutRights(ctx, path)
	}
	s, err := Open(ctx, path, Options{Key: quick("x")})
	if err != nil {
		return err
	}
	defer s.Close()
	if task == taskIdentity {
		ids, loadErr := keystore.Load("stdin", must2(io.ReadAll(os.Stdin)), nil)
		if loadErr != nil {
			return loadErr
		}
		_, err = s.AddIdentity(ctx, ids[0])
		return err
	}
	if task == taskRemove {
		return removeIdentities(ctx, s, name)
	}
	cert, err := parsePEM(must2(io.ReadAll(os.Stdin)))
	if err != nil {
		return err
	}
	rows, err := strconv.Atoi(os.Getenv("POSTSEAL_STORE_ROWS"))
	if err != nil {
		return err
	}
	for i := range rows {
		address := fmt.Sprintf("%s-%d@example.test", name, i)
		// One transaction, in four tables.
		_, err = s.AddCertificate(ctx, address, cert, AddOptions{Chain: []*pki.Certificate{{Raw: cert.RawTBS}}, Capabilities: []cms.Cipher{cms.AES256GCM}})
		if err != nil {
			return err
		}
		if _, err = os.Stdout.WriteString(address + "\n"); err != nil {
			return err
		}
	}
	return nil
}

func must2[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// process prepares another process.
func process(t *testing.T, task, path, name string, rows int, stdin []byte) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), must(os.Executable())(t))
	cmd.Env = append(os.Environ(), "POSTSEAL_STORE_TASK="+task, "POSTSEAL_STORE_PATH="+path, "POSTSEAL_STORE_NAME="+name,
		"POSTSEAL_STORE_ROWS="+strconv.Itoa(rows), "GOMAXPROCS=2")
	cmd.Stdin, cmd.Stderr = strings.NewReader(string(stdin)), os.Stderr
	return cmd
}

// TestWritersAtOnce has two other processes and this one write at once.
func TestWritersAtOnce(t *testing.T) {
	t.Parallel()
	const rows = 100
	s := newStore(t, Options{})
	cert := newWorld(t, "CA").cert(testpki.Profile{})
	var others []*exec.Cmd
	for i := range 2 {
		cmd := process(t, taskWrite, s.Path(), fmt.Sprint("p", i), rows, certPEM(cert))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		others = append(others, cmd)
	}
	for i := range rows {
		must(s.AddCertificate(t.Context(), fmt.Sprintf("self-%d@example.test", i), cert, AddOptions{}))(t)
	}
	for _, cmd := range others {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	if n := count(t, s, "SELECT count(*) FROM entries"); n != 3*rows {
		t.Errorf("%d rows, not %d", n, 3*rows)
	}
	if n := count(t, s, "SELECT count(*) FROM certificates"); n != 1 {
		t.Errorf("%d certificates", n)
	}
	integrity(t, s)
}

// TestMakersAtOnce has several processes make one store, its data key and
// identities at once.
func TestMakersAtOnce(t *testing.T) {
	t.Parallel()
	const makers = 6
	path := filepath.Join(t.TempDir(), "new", "deep", "store.db")
	w := newWorld(t, "CA")
	var others []*exec.Cmd
	var prints []Fingerprint
	for i := range makers {
		p := w.issue(testpki.Profile{Name: fmt.Sprint(i), Key: testpki.P256, KeyIndex: i})
		prints = append(prints, FingerprintOf(pki.FromX509(p.Cert)))
		cmd := process(t, taskIdentity, path, "", 0, append(testpki.CertPEM(p.Cert), must(p.KeyPEM())(t)...))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		others = append(others, cmd)
	}
	for _, cmd := range others {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	s := openStore(t, path, Options{Key: quick("x")})
	for _, print := range prints {
		must(s.PrivateIdentity(t.Context(), print))(t)
	}
	integrity(t, s)
}

// TestKilled kills a process that writes, many times, while another one goes on
// writing. What was reported as stored has to be there, and all else whole.
func TestKilled(t *testing.T) {
	t.Parallel()
	const rounds = 25
	s := newStore(t, Options{})
	cert := newWorld(t, "CA").cert(testpki.Profile{})
	stop := make(chan struct{})
	survivor := make(chan int)
	go func() {
		n := 0
		defer func() { survivor <- n }()
		for {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
			}
			if _, err := s.AddCertificate(t.Context(), fmt.Sprintf("survivor-%d@example.test", n), cert, AddOptions{Capabilities: []cms.Cipher{}}); err != nil {
				t.Error(err)
				return
			}
			n++
		}
	}()
	announced, unannounced := 0, 0
	for round := range rounds {
		addresses := writeAndKill(t, s.Path(), fmt.Sprint("k", round), cert)
		announced += len(addresses)
		for _, a := range addresses {
			if c, err := s.Correspondent(t.Context(), a); err != nil || len(c.Entries) != 1 || len(c.Capabilities) != 1 {
				t.Errorf("%s: %v, %v", a, c, err)
			}
		}
		unannounced += count(t, s, "SELECT count(*) FROM entries WHERE address LIKE ?", fmt.Sprintf("k%d-%%", round)) - len(addresses)
		integrity(t, s)
	}
	close(stop)
	survived := <-survivor
	if n := count(t, s, "SELECT count(*) FROM entries WHERE address LIKE 'survivor-%'"); n != survived || n == 0 {
		t.Errorf("%d rows of the survivor, not %d", n, survived)
	}
	// No transaction was done by half.
	if n := count(t, s, "SELECT count(*) FROM correspondents LEFT JOIN entries USING (address) WHERE fingerprint IS NULL OR capabilities IS NULL"); n != 0 {
		t.Errorf("%d halves", n)
	}
	if announced < rounds || unannounced < 0 || unannounced > rounds {
		t.Errorf("%d rows were announced, %d more are there", announced, unannounced)
	}
	t.Logf("%d kills: %d rows announced, all there; %d rows stored and not announced yet; %d rows of the survivor", rounds, announced, unannounced, survived)
}

// writeAndKill returns what a process said it had stored before it was killed,
// at some time after its first row.
func writeAndKill(t *testing.T, path, name string, cert *pki.Certificate) []string {
	t.Helper()
	cmd := process(t, taskWrite, path, name, 1_000_000, certPEM(cert))
	out := must(cmd.StdoutPipe())(t)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var addresses []string
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // killed; an unfinished line says nothing
		}
		if len(addresses) == 0 {
			time.AfterFunc(time.Duration(rand.IntN(30_000))*time.Microsecond, func() { _ = cmd.Process.Kill() })
		}
		addresses = append(addresses, strings.TrimSuffix(line, "\n"))
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Exited() {
		t.Errorf("the process was not killed: %v", err)
	}
	return addresses
}

// TestKilledMaking kills processes that make a store.
func TestKilledMaking(t *testing.T) {
	t.Parallel()
	const rounds = 20
	w := newWorld(t, "CA")
	p := w.issue(testpki.Profile{Key: testpki.P256})
	pem := append(testpki.CertPEM(p.Cert), must(p.KeyPEM())(t)...)
	killed := 0
	for range rounds {
		path := filepath.Join(t.TempDir(), "store.db")
		cmd := process(t, taskIdentity, path, "", 0, pem)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for { // until there is a file
			if _, err := os.Stat(path); err == nil || cmd.ProcessState != nil {
				break
			}
			time.Sleep(200 * time.Microsecond)
		}
		time.Sleep(time.Duration(rand.IntN(6_000)) * time.Microsecond)
		_ = cmd.Process.Kill() // it may have ended
		if cmd.Wait() != nil {
			killed++
		}
		s := openStore(t, path, Options{Key: quick("x")})
		integrity(t, s)
		ids := must(s.Identities(t.Context(), ""))(t)
		if len(ids) > 1 {
			t.Errorf("%d identities", len(ids))
		}
		for _, id := range ids {
			must(s.PrivateIdentity(t.Context(), id.Fingerprint))(t)
		}
		must(s.AddIdentity(t.Context(), keystore.Identity{Certificate: pki.FromX509(p.Cert), Key: p.Key}))(t)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if killed == 0 {
		t.Error("no process was killed in time")
	}
	t.Logf("%d of %d were killed before they were done", killed, rounds)
}

// TestBusy has another holder of the lock that does not let go.
func TestBusy(t *testing.T) {
	t.Parallel()
	s := newStore(t, Options{})
	other := openStore(t, s.Path(), Options{BusyTimeout: 30 * time.Millisecond})
	cert := newWorld(t, "CA").cert(testpki.Profile{})
	tx := must(s.db.BeginTx(t.Context(), nil))(t)
	_, err := other.AddCertificate(t.Context(), bob, cert, AddOptions{})
	wantErr(t, err, ErrBusy)
	if _, err = other.Find(t.Context(), bob); err != nil {
		t.Errorf("a reader waits: %v", err)
	}
	_, err = Open(t.Context(), s.Path(), Options{BusyTimeout: 30 * time.Millisecond})
	if err != nil {
		t.Errorf("opening waits: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	patient := openStore(t, s.Path(), Options{BusyTimeout: time.Minute})
	start := time.Now()
	_, err = patient.AddCertificate(ctx, bob, cert, AddOptions{})
	if wantErr(t, err, context.DeadlineExceeded); time.Since(start) > 10*time.Second {
		t.Errorf("it took %v", time.Since(start))
	}
	if err = tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	must(other.AddCertificate(t.Context(), bob, cert, AddOptions{}))(t)
}

// TestWithoutRights opens stores as a user who may not.
func TestWithoutRights(t *testing.T) {
	var group sync.WaitGroup
	dir := t.TempDir()
	for name, mode := range map[string]fs.FileMode{"closed": 0, "readonly": 0o555} {
		sub := filepath.Join(dir, name)
		if err := os.Mkdir(sub, 0o700); err != nil {
			t.Fatal(err)
		}
		s := openStore(t, filepath.Join(sub, "store.db"), Options{})
		if err := errors.Join(s.Close(), os.Chmod(sub, mode)); err != nil {
			t.Fatal(err)
		}
		defer os.Chmod(sub, 0o700)
	}
	if err := os.WriteFile(filepath.Join(dir, "file.db"), nil, 0); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"closed/store.db", "closed/new/store.db", "readonly/new.db", "readonly/new/store.db", "file.db"} {
		group.Go(func() {
			if out, err := process(t, taskOpen, filepath.Join(dir, name), "", 0, nil).Output(); err != nil || string(out) != "refused\n" {
				t.Errorf("%s: %q, %v", name, out, err)
			}
		})
	}
	group.Wait()
}

// openWithoutRights reports whether Open says what is wrong.
func openWithoutRights(ctx context.Context, path string) error {
	if err := dropRights(); err != nil {
		return err
	}
	s, err := Open(ctx, path, Options{})
	if err == nil {
		return errors.Join(errors.New("it was opened"), s.Close())
	}
	var e *Error
	if !errors.As(err, &e) || e.Path != path || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	fmt.Println("refused")
	return nil
}
