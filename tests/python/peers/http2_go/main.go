// The peer of peers/http2.py on Go's net/http: HTTP/2 over TLS on one port, with prior knowledge on another. Arguments:
// certificate, key, port with TLS, port without.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"sort"
	"strconv"
	"strings"
)

func echo(response http.ResponseWriter, request *http.Request) {
	if id := request.Header.Get("X-Id"); id != "" {
		response.Header().Set("X-Id", id)
	}
	response.WriteHeader(200)
	piece := make([]byte, 16384)
	for {
		size, err := request.Body.Read(piece)
		if size > 0 {
			if _, failed := response.Write(piece[:size]); failed != nil {
				return
			}
			response.(http.Flusher).Flush()
		}
		if err != nil {
			return
		}
	}
}

func headers(response http.ResponseWriter, request *http.Request) {
	fields := [][2]string{}
	for name, values := range request.Header {
		for _, value := range values {
			fields = append(fields, [2]string{strings.ToLower(name), value})
		}
	}
	sort.Slice(fields, func(a, b int) bool { return fields[a][0] < fields[b][0] })
	_ = json.NewEncoder(response).Encode(map[string]any{"host": request.Host, "headers": fields})
}

func digest(response http.ResponseWriter, request *http.Request) {
	hash := sha256.New()
	length, err := io.Copy(hash, request.Body)
	if err != nil {
		return
	}
	_ = json.NewEncoder(response).Encode(map[string]any{"length": length, "sha256": hex.EncodeToString(hash.Sum(nil))})
}

func number(request *http.Request, name string) int {
	value, _ := strconv.Atoi(request.URL.Query().Get(name))
	return value
}

func main() {
	http.HandleFunc("/hello", func(response http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(response, "Hello over HTTP/2\n")
	})
	http.HandleFunc("/echo", echo)
	http.HandleFunc("/headers", headers)
	http.HandleFunc("/digest", digest)
	http.HandleFunc("/stream", func(response http.ResponseWriter, request *http.Request) {
		for i := 0; i < number(request, "n"); i++ {
			fmt.Fprintf(response, "piece %d\n", i)
			response.(http.Flusher).Flush()
		}
	})
	http.HandleFunc("/big", func(response http.ResponseWriter, request *http.Request) {
		_, _ = io.Copy(response, strings.NewReader(strings.Repeat("x", number(request, "bytes"))))
	})
	http.HandleFunc("/status/", func(response http.ResponseWriter, request *http.Request) {
		status, _ := strconv.Atoi(strings.TrimPrefix(request.URL.Path, "/status/"))
		response.Header().Set("X-Status", "bare")
		response.WriteHeader(status)
	})
	http.HandleFunc("/cookies", func(response http.ResponseWriter, _ *http.Request) {
		response.Header().Add("Set-Cookie", "a=1; Path=/")
		response.Header().Add("Set-Cookie", "b=2; Path=/")
	})
	http.HandleFunc("/early413", func(response http.ResponseWriter, _ *http.Request) {
		response.WriteHeader(413)
		fmt.Fprint(response, "too much")
	})
	http.HandleFunc("/never", func(_ http.ResponseWriter, request *http.Request) {
		<-request.Context().Done()
	})
	http.HandleFunc("/trailers", func(response http.ResponseWriter, _ *http.Request) {
		response.Header().Set("Trailer", "X-Trailer")
		fmt.Fprint(response, "before the trailers")
		response.Header().Set("X-Trailer", "last")
	})
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	plain := &http.Server{Addr: "127.0.0.1:" + os.Args[4], Protocols: protocols}
	go func() { log.Fatal(plain.ListenAndServe()) }()
	log.Fatal(http.ListenAndServeTLS("127.0.0.1:"+os.Args[3], os.Args[1], os.Args[2], nil))
}
