package relay_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"time"

	"github.com/postseal/postseal/tls/relay"
)

// accept listens on loopback, and hands the first connection to serve.
func accept(serve func(net.Conn)) (address string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		conn, acceptErr := ln.Accept()
		if acceptErr != nil {
			log.Fatal(acceptErr)
		}
		_ = ln.Close()
		serve(conn)
	}()
	return ln.Addr().String()
}

// A proxy has TLS on the side of its clients and none on that of its server: the
// relay.Transport is below TLS. A client that ends what it sends still gets the
// answer.
func ExampleRun() {
	upstream := accept(func(conn net.Conn) { // answers at the end of the question
		question, err := io.ReadAll(conn)
		if err != nil {
			log.Fatal(err)
		}
		_, _ = fmt.Fprintf(conn, "you said %q", question)
		_ = conn.Close()
	})
	done := make(chan struct{})
	proxy := accept(func(near net.Conn) {
		defer close(done)
		client := tls.Server(relay.NewTransport(near), &tls.Config{Certificates: []tls.Certificate{credentials()}})
		if err := client.Handshake(); err != nil {
			log.Fatal(err)
		}
		server, err := net.Dial("tcp", upstream)
		if err != nil {
			log.Fatal(err)
		}
		result, err := relay.Run(context.Background(), client, server, &relay.Options{Idle: 10 * time.Minute})
		fmt.Println(result.First, "ended first:", result.AToB.Bytes, "octets to the server,", result.BToA.Bytes, "to the client,", err)
	})

	conn, err := tls.Dial("tcp", proxy, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		log.Fatal(err)
	}
	_, _ = fmt.Fprint(conn, "hello")
	if err = conn.CloseWrite(); err != nil {
		log.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	<-done
	fmt.Printf("%s, %v\n", answer, err)
	_ = conn.Close()
	// Output:
	// A ended first: 5 octets to the server, 16 to the client, <nil>
	// you said "hello", <nil>
}

// An error tells the side and what was being done; a limit is no failure of a
// connection.
func ExampleError() {
	near, far := accepted()
	defer func() { _ = far.Close() }()
	other, end := accepted()
	defer func() { _ = end.Close() }()
	_, err := relay.Run(context.Background(), near, other, &relay.Options{Idle: 20 * time.Millisecond})
	var failure *relay.Error
	fmt.Println(errors.Is(err, relay.ErrIdle), errors.As(err, &failure) && failure.Side == relay.Neither)
	fmt.Println(err)
	// Output:
	// true true
	// relay: no data moved in either direction for too long
}

// accepted returns the two ends of a connection.
func accepted() (near, far net.Conn) {
	ends := make(chan net.Conn, 1)
	far, err := net.Dial("tcp", accept(func(conn net.Conn) { ends <- conn }))
	if err != nil {
		log.Fatal(err)
	}
	return <-ends, far
}
