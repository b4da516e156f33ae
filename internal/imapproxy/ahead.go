package imapproxy

import (
	"runtime"
	"sync"
)

// maxAhead is how many batches of messages may be there at once: one whose messages
// are shown, and others whose messages come and are opened meanwhile.
const maxAhead = 2

// A batch is messages that are shown together.
type batch struct {
	targets []*target
	needed  []*target // those of them that have to be opened
	big     bool      // it is one message that is bigger than what is opened together

	// What became of needed, one by one: nil and nil has gone. got is closed when all
	// have come, or err says why not; opening waits for those that are opened.
	got     chan struct{}
	err     error
	opening sync.WaitGroup
	all     []*opened
	errs    []error
}

// slots is how many batches one counts for. Nothing is beside a big message.
func (b *batch) slots() int {
	if b.big {
		return maxAhead
	}
	return 1
}

// An ahead gets messages from the upstream and opens them, on all cores and as they
// come, while others are shown. Who has it takes its batches in their order, and
// may ask the upstream for something meanwhile. end must be called.
type ahead struct {
	s       *session
	f       *fetch
	batches []*batch
	slots   chan struct{} // of batches that are there
	work    chan job
	stop    chan struct{} // closed when nobody wants the rest
	running sync.WaitGroup
}

// A job is a message to open.
type job struct {
	b   *batch
	i   int // in b.needed
	raw *rawMessage
}

// openAhead begins to get and open those of targets that are needed and not held.
func (s *session) openAhead(f *fetch, targets []*target, held map[uint32]*opened) *ahead {
	a := &ahead{s: s, f: f}
	count := 0
	for some := range f.batches(targets) {
		b := &batch{targets: some}
		for _, t := range some {
			if !t.big && f.needs(t) && held[t.uid] == nil {
				b.needed = append(b.needed, t)
			}
		}
		if n := len(b.needed); n > 0 {
			count += n
			b.big = f.weight(b.needed[0]) > maxAtOnce // it is alone, then
			b.got, b.all, b.errs = make(chan struct{}), make([]*opened, n), make([]error, n)
		}
		a.batches = append(a.batches, b)
	}
	if count == 0 {
		return a
	}
	// The pump gives jobs away, and never waits for those who take them.
	a.slots, a.work, a.stop = make(chan struct{}, maxAhead), make(chan job, maxAhead*atOnce), make(chan struct{})
	a.running.Go(a.get)
	for range min(runtime.GOMAXPROCS(0), count) {
		a.running.Go(a.open)
	}
	return a
}

// get gets the messages of all batches, as there is room for them.
func (a *ahead) get() {
	defer close(a.work)
	for _, b := range a.batches {
		if len(b.needed) == 0 {
			continue
		}
		for range b.slots() {
			select {
			case a.slots <- struct{}{}:
			case <-a.stop:
				return
			}
		}
		b.err = a.s.get(a.f, b.needed, func(i int, raw *rawMessage) {
			b.opening.Add(1)
			a.work <- job{b, i, raw}
		})
		close(b.got)
	}
}

// open opens messages until there are no more.
func (a *ahead) open() {
	for j := range a.work {
		select {
		case <-a.stop:
			_ = j.raw.buffer.Close() // nobody looks at it
		default:
			j.b.all[j.i], j.b.errs[j.i] = a.s.open(j.b.needed[j.i], j.raw.buffer, j.raw.date)
		}
		j.b.opening.Done()
	}
}

// wait waits until the messages of a batch are opened.
func (a *ahead) wait(b *batch) {
	if len(b.needed) > 0 {
		a.s.flush() // this may take a while
		<-b.got
		b.opening.Wait()
	}
}

// release says that a batch was shown.
func (a *ahead) release(b *batch) {
	for range b.slots() {
		if len(b.needed) > 0 {
			<-a.slots
		}
	}
}

// end frees what nobody has taken. With an error, after which the session ends,
// the rest does not come.
func (a *ahead) end(err error) {
	if a.stop == nil {
		return
	}
	close(a.stop)
	if err != nil {
		a.s.hangUp() // the upstream does not have to go on
	}
	a.running.Wait()
	for _, b := range a.batches {
		for _, o := range b.all {
			if o != nil {
				o.close()
			}
		}
	}
}
