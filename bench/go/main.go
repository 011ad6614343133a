// Command main is a simple server of the framed protocol in Go. Each connection has a goroutine, payloads are decoded
// into interface values, and each async request has two goroutines with a channel and a time-out. Locks guard the map of
// pending requests and the writes of a connection. Like the plugin, it keeps the last updates of each device.
package main

import (
	"encoding/binary"
	"encoding/json"
	"io"
	"log"
	"net"
	"os"
	"sync"
	"time"
)

// The number of updates that are kept of a device, as in the plugin.
const history = 16

type update struct {
	status   string
	sequence uint64
	at       int64
}

type store struct {
	sync.Mutex
	devices map[string][]update
}

type updated struct {
	DeviceID string `json:"deviceId"`
	Status   string `json:"status"`
	Sequence uint64 `json:"sequence"`
	Previous string `json:"previous,omitempty"`
}

type request struct {
	ID     string      `json:"id"`
	Method string      `json:"method"`
	Params interface{} `json:"params"`
}

type rpcError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

type reply struct {
	ID     string      `json:"id,omitempty"`
	Result interface{} `json:"result,omitempty"`
	Error  *rpcError   `json:"error,omitempty"`
}

type connection struct {
	net.Conn
	writing  sync.Mutex
	pending  sync.Mutex
	requests map[string]chan []byte
}

var devices = store{devices: map[string][]update{}}

func (s *store) record(id, status string) updated {
	s.Lock()
	defer s.Unlock()

	known := s.devices[id]
	result := updated{DeviceID: id, Status: status, Sequence: 1}
	if len(known) > 0 {
		last := known[len(known)-1]
		result.Sequence, result.Previous = last.sequence+1, last.status
	}

	known = append(known, update{status, result.Sequence, time.Now().UnixMilli()})
	if len(known) > history {
		known = known[1:]
	}
	s.devices[id] = known
	return result
}

func run(method string, params interface{}) (interface{}, *rpcError) {
	fields, isObject := params.(map[string]interface{})
	id, hasID := fields["deviceId"].(string)
	status, hasStatus := fields["status"].(string)

	if method != "device.status.update" {
		return nil, &rpcError{-32601, "method not found"}
	}
	if !isObject || !hasID || !hasStatus {
		return nil, &rpcError{-32602, "invalid params"}
	}
	return devices.record(id, status), nil
}

func answer(req request) []byte {
	result, failure := run(req.Method, req.Params)
	payload, err := json.Marshal(reply{req.ID, result, failure})
	if err != nil {
		log.Println("cannot encode the reply:", err)
	}
	return payload
}

func (c *connection) send(version uint16, kind byte, payload []byte) {
	frame := make([]byte, 7, 7+len(payload))
	binary.BigEndian.PutUint16(frame, version)
	frame[2] = kind
	binary.BigEndian.PutUint32(frame[3:], uint32(len(payload)))

	c.writing.Lock()
	defer c.writing.Unlock()
	if _, err := c.Write(append(frame, payload...)); err != nil {
		c.Close()
	}
}

func (c *connection) async(payload []byte) {
	var req request
	if err := json.Unmarshal(payload, &req); err != nil {
		log.Println("cannot decode the request:", err)
		return
	}

	done := make(chan []byte, 1)
	c.pending.Lock()
	c.requests[req.ID] = done
	c.pending.Unlock()

	go func() { done <- answer(req) }()
	go func() {
		select {
		case payload := <-done:
			c.send(0x0101, 0x05, payload)
		case <-time.After(30 * time.Second):
			log.Println("request timed out:", req.ID)
		}
		c.pending.Lock()
		delete(c.requests, req.ID)
		c.pending.Unlock()
	}()
}

func (c *connection) serve() {
	defer c.Close()
	defer func() {
		if cause := recover(); cause != nil {
			log.Println("panic:", cause)
		}
	}()

	header := make([]byte, 7)
	for {
		if _, err := io.ReadFull(c, header); err != nil {
			return
		}
		version := binary.BigEndian.Uint16(header)
		payload := make([]byte, binary.BigEndian.Uint32(header[3:]))
		if _, err := io.ReadFull(c, payload); err != nil {
			return
		}

		switch header[2] {
		case 0x01:
			var req request
			if err := json.Unmarshal(payload, &req); err != nil {
				log.Println("cannot decode the request:", err)
				return
			}
			c.send(version, 0x01, answer(req))
		case 0x02:
			c.send(version, 0x02, nil)
		case 0x04:
			c.async(payload)
		}
	}
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: main SOCKET")
	}
	listener, err := net.Listen("unix", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		c := &connection{Conn: conn, requests: map[string]chan []byte{}}
		go c.serve()
	}
}
