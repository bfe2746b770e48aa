// What Go's net/http reads, for `brolly-conformance differential`; see conformance/src/differential/peers.rs for the frames.
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

type message struct {
	Start    []string    `json:"start"`
	Host     *string     `json:"host"`
	Fields   [][2]string `json:"fields"`
	Content  string      `json:"content"`
	Trailers [][2]string `json:"trailers"`
}

type reading struct {
	Messages []message `json:"messages"`
	End      string    `json:"end"`
	Left     *int      `json:"left"`
}

// Each byte as the character of that number.
func latin1(data string) string {
	var out strings.Builder
	for _, b := range []byte(data) {
		out.WriteRune(rune(b))
	}
	return out.String()
}

func lines(header http.Header) [][2]string {
	fields := [][2]string{}
	for name, values := range header {
		for _, value := range values {
			fields = append(fields, [2]string{strings.ToLower(latin1(name)), latin1(value)})
		}
	}
	sort.SliceStable(fields, func(a, b int) bool { return fields[a][0] < fields[b][0] })
	return fields
}

// A connection from which some bytes come, and then the end.
type memory struct {
	in   *bytes.Reader
	out  bytes.Buffer
	lock sync.Mutex
	done chan struct{}
	once sync.Once
}

func (m *memory) Read(p []byte) (int, error) { return m.in.Read(p) }
func (m *memory) Write(p []byte) (int, error) {
	m.lock.Lock()
	defer m.lock.Unlock()
	return m.out.Write(p)
}
func (m *memory) Close() error                     { m.once.Do(func() { close(m.done) }); return nil }
func (m *memory) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (m *memory) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (m *memory) SetDeadline(time.Time) error      { return nil }
func (m *memory) SetReadDeadline(time.Time) error  { return nil }
func (m *memory) SetWriteDeadline(time.Time) error { return nil }

type listener chan net.Conn

func (l listener) Accept() (net.Conn, error) { return <-l, nil }
func (l listener) Close() error              { return nil }
func (l listener) Addr() net.Addr            { return &net.TCPAddr{} }

var (
	connections = make(listener)
	current     reading
)

// One connection is served at a time.
func serve(w http.ResponseWriter, r *http.Request) {
	content, err := io.ReadAll(r.Body)
	if err != nil {
		if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
			current.End = "error: " + err.Error()
		}
		panic(http.ErrAbortHandler)
	}
	host := latin1(r.Host)
	version := strconv.Itoa(r.ProtoMajor) + "." + strconv.Itoa(r.ProtoMinor)
	start := []string{r.Method, latin1(r.RequestURI), version}
	current.Messages = append(current.Messages,
		message{start, &host, lines(r.Header), latin1(string(content)), lines(r.Trailer)})
	if r.Method == "CONNECT" {
		w.Header().Set("Connection", "close")
	}
	w.Header().Set("Content-Length", "0")
}

func requests(data []byte) reading {
	current = reading{Messages: []message{}, End: "more"}
	conn := &memory{in: bytes.NewReader(data), done: make(chan struct{})}
	connections <- conn
	<-conn.done
	said := conn.out.String()
	last := said[max(0, strings.LastIndex(said, "HTTP/1.")):]
	if last == "" || current.End != "more" {
		return current
	}
	head, why, _ := strings.Cut(last, "\r\n\r\n")
	isKept := strings.HasPrefix(head, "HTTP/1.1") || strings.Contains(head, "Connection: keep-alive")
	if !strings.HasPrefix(head[len("HTTP/1.x "):], "200") && why != "" {
		current.End = "error: " + why
	} else if strings.Contains(head, "Connection: close") || !isKept {
		current.End = "closed"
	}
	return current
}

func max(a, b int) int {
	if a > b {
		return a
	}
	return b
}

func responses(data []byte, method string) reading {
	from := bytes.NewReader(data)
	reader := bufio.NewReader(from)
	for {
		response, err := http.ReadResponse(reader, &http.Request{Method: method})
		if err != nil {
			return failed(err)
		}
		if response.StatusCode == 101 {
			return reading{[]message{}, "closed", nil}
		}
		if response.StatusCode < 200 {
			continue
		}
		content, err := io.ReadAll(response.Body)
		if err != nil {
			return failed(err)
		}
		version := strconv.Itoa(response.ProtoMajor) + "." + strconv.Itoa(response.ProtoMinor)
		code, reason, _ := strings.Cut(response.Status, " ")
		left, end := reader.Buffered()+from.Len(), "more"
		if response.Close {
			end = "closed"
		}
		start := []string{code, latin1(reason), version}
		one := message{start, nil, lines(response.Header), latin1(string(content)), lines(response.Trailer)}
		return reading{[]message{one}, end, &left}
	}
}

func failed(err error) reading {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return reading{[]message{}, "more", nil}
	}
	return reading{[]message{}, "error: " + err.Error(), nil}
}

func main() {
	log.SetOutput(io.Discard)
	go (&http.Server{Handler: http.HandlerFunc(serve), ErrorLog: log.Default()}).Serve(connections)
	in, out := bufio.NewReader(os.Stdin), bufio.NewWriter(os.Stdout)
	for {
		var head [6]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return
		}
		data := make([]byte, binary.LittleEndian.Uint32(head[2:]))
		if _, err := io.ReadFull(in, data); err != nil {
			return
		}
		var read reading
		if head[0] == 'Q' {
			read = requests(data)
		} else if head[1] == 'H' {
			read = responses(data, "HEAD")
		} else {
			read = responses(data, "GET")
		}
		answer, _ := json.Marshal(read)
		var length [4]byte
		binary.LittleEndian.PutUint32(length[:], uint32(len(answer)))
		out.Write(length[:])
		out.Write(answer)
		if in.Buffered() == 0 {
			out.Flush()
		}
	}
}
