package mailtest

import (
	"bytes"
	"io"
	"reflect"
	"testing"
)

// Protect writes a message through a writer that signs or encrypts it.
func Protect(t testing.TB, message string, f func(io.Writer) (io.WriteCloser, error)) string {
	t.Helper()
	var out bytes.Buffer
	w, err := f(&out)
	if err == nil {
		_, err = io.WriteString(w, message)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// Fill gives all exported fields of what dst points to a value. in is for those that
// are interfaces.
func Fill(dst, in any) { fill(reflect.ValueOf(dst).Elem(), reflect.ValueOf(in)) }

func fill(v, in reflect.Value) {
	for f, field := range v.Fields() {
		if !f.IsExported() {
			continue
		}
		switch field.Kind() {
		case reflect.String:
			field.SetString("x")
		case reflect.Bool:
			field.SetBool(true)
		case reflect.Func:
			field.Set(reflect.MakeFunc(field.Type(), func([]reflect.Value) []reflect.Value { return nil }))
		case reflect.Pointer:
			field.Set(reflect.New(field.Type().Elem()))
		case reflect.Interface:
			field.Set(in)
		case reflect.Struct:
			fill(field, in)
		default:
			field.Set(reflect.ValueOf(1).Convert(field.Type()))
		}
	}
}

// Copied looks whether what made points to has a value in all exported fields.
func Copied(t testing.TB, made any) {
	t.Helper()
	n := 0
	for f, v := range reflect.ValueOf(made).Elem().Fields() {
		if f.IsExported() && v.IsZero() {
			t.Errorf("%s is not copied", f.Name)
		}
		n++
	}
	if n < 10 {
		t.Errorf("%d fields", n)
	}
}
