package main

import (
	"bufio"
	"errors"
	"io"
	"strings"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/spool"
	"github.com/postseal/postseal/smime"
)

// A mailWriter makes the writer of a protected message to dst. A survey that is
// not nil makes it hold nothing, and the message may have to be written twice.
type mailWriter func(dst io.Writer, survey *smime.Survey) (io.WriteCloser, error)

// surveySize is from what size on a message is rather written twice than held,
// in octets.
const surveySize = 1 << 20

// writeMail protects the input, a message.
func (a *app) writeMail(args []string, path string, write mailWriter) error {
	in, err := a.open(args)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := a.create(path, streamed, false)
	if err != nil {
		return err
	}
	defer out.Discard()
	var survey *smime.Survey
	if in.regular != nil && in.size > surveySize && out.isTemp() {
		survey = &smime.Survey{}
	}
	err = protect(in, out, survey, write)
	if errors.Is(err, smime.ErrSurvey) {
		if err = errors.Join(in.rewind(), out.restart()); err == nil {
			err = protect(in, out, survey, write)
		}
	}
	if errors.Is(err, smime.ErrSurvey) {
		err = in.failed(spool.ErrChanged)
	}
	if err != nil {
		return err
	}
	return out.Commit()
}

// protect passes the input through a writer to the output.
func protect(in *input, out *output, survey *smime.Survey, write mailWriter) error {
	w, err := write(out, survey)
	if err != nil {
		return err
	}
	if err = copyAll(w, in); err == nil {
		err = w.Close()
	}
	return inFile(in.name, err)
}

// A reading is a message that was opened, with the verdict on it.
type reading struct {
	name    string
	message *smime.Message // nil when nothing could be read
	verdict error
	in      *input // from which the message may be read
	to      destination
	form    smime.Form // in which the message is released
	out     *output    // where it is, perhaps, already; nil when there is no such place
}

func (r *reading) close() {
	if r.message != nil {
		_ = r.message.Close() // it was only read
	}
	r.in.Close()
	r.out.Discard()
}

// readMail opens a message, to be released to where it belongs in a form. The
// error is about the system; that of the message is in the reading.
func (a *app) readMail(args []string, to destination, form smime.Form, opts *smime.ReadOptions) (*reading, error) {
	in, err := a.open(args)
	if err != nil {
		return nil, err
	}
	r := &reading{name: in.name, in: in, to: to, form: form}
	if r.out, err = a.staged(to); err == nil {
		err = r.read(opts)
	}
	a.progress.stop()
	if r.message != nil {
		for _, l := range r.message.Layers {
			err = gravest(err, l.Signers)
		}
	}
	r.verdict = inFile(in.name, err)
	if isSystem(err) {
		r.close()
		return nil, r.verdict
	}
	return r, nil
}

// read reads the message: where it is, if it is in a file, or else as it comes.
func (r *reading) read(opts *smime.ReadOptions) error {
	src, bare, err := mailSource(r.in)
	if err != nil {
		return err
	}
	if bare {
		r.form = smime.FormContent // what had no header gets none
	}
	o := *opts
	if o.Form = r.form; r.out != nil {
		o.Stage = r.out
	}
	if r.in.regular != nil && !bare {
		r.message, err = smime.ReadAt(r.in, r.in.size, &o)
	} else {
		r.message, err = smime.Read(src, &o)
	}
	return err
}

// release writes an opened message, on which the verdict is known.
func (a *app) release(r *reading) error {
	if r.message.Staged() {
		return r.out.Commit()
	}
	out, err := r.to.open(a, streamed)
	if err != nil {
		return err
	}
	defer out.Discard()
	if r.form == smime.FormContent {
		err = copyAll(out, r.message.Content())
	} else {
		_, err = r.message.WriteTo(out)
	}
	if err != nil {
		return err
	}
	return out.Commit()
}

// mailSource returns a message as package smime reads it. A bare smime.p7m, as
// mail programs save it, is one without its header.
func mailSource(in *input) (src io.Reader, bare bool, err error) {
	br := bufio.NewReaderSize(in, inputSize)
	f, err := sniff(br)
	if err != nil || f == formMail {
		return br, false, err
	}
	return io.MultiReader(strings.NewReader("Content-Type: application/pkcs7-mime\r\n\r\n"), br), true, nil
}

// readOptions translates the flags.
func (a *app) readOptions(f *trustFlags, ids []cms.Identity) (*smime.ReadOptions, error) {
	v, err := a.verifyOptions(f)
	if err != nil {
		return nil, err
	}
	return &smime.ReadOptions{Trust: v.Trust, Identities: ids, Certificates: v.Certificates, Allow: v.Allow, Time: v.Time}, nil
}

// report tells about a reading, for programs.
func (r *reading) report(noTrust bool) *report {
	out := newReport(r.name, noTrust, r.verdict)
	m := r.message
	if m == nil {
		return out
	}
	out.Status, out.Encrypted, out.Signed, out.Trusted = m.Status, m.Encrypted, m.Signed, m.Trusted
	out.Problems = errorTexts(m.Problems)
	for _, l := range m.Layers {
		out.Layers = append(out.Layers, reportLayer(l))
	}
	return out
}

func reportLayer(l *smime.Layer) *layerReport {
	out := &layerReport{Type: l.Type, Cipher: l.Cipher, Error: errorText(l.Err), Warnings: errorTexts(l.Warnings)}
	if l.Encrypted || l.Type == smime.TypeAuthenticated {
		authenticated := l.Authenticated
		out.Authenticated = &authenticated
		out.Recipients = []string{}
		for _, info := range l.Recipients {
			out.Recipients = append(out.Recipients, printable(info.String()))
		}
	}
	if l.Signature() {
		out.Signers = reportSigners(l.Signers)
	}
	if l.Type == smime.TypeCertsOnly {
		for _, c := range l.Certificates {
			out.Certificates = append(out.Certificates, c.Subject())
		}
	}
	return out
}
