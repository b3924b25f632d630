package main

import (
	"time"

	"github.com/gorilla/websocket"
	"github.com/lorenzodonini/ocpp-go/ws"
)

// newClient is the WebSocket client of a station, with what the order asks for.
func newClient(o order) *ws.Client {
	client := ws.NewClient()
	if o.Password != nil {
		client.SetBasicAuth(o.Identity, *o.Password)
	}
	if o.Deflate {
		client.AddOption(func(dialer *websocket.Dialer) { dialer.EnableCompression = true })
	}
	return client
}

// newServer is the WebSocket server of a central system; with a password it lets in only who knows it.
func newServer(o order) *ws.Server {
	server := ws.NewServer()
	if o.Password != nil {
		server.SetBasicAuthHandler(func(username, password string) bool { return password == *o.Password })
	}
	return server
}

// listening waits until a server has its port.
func listening(server *ws.Server) (any, error) {
	for range 500 {
		if address := server.Addr(); address != nil {
			return map[string]any{"port": address.Port}, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil, fault{"error", "the server did not start"}
}

func dropConnection(server *ws.Server, identity string) error {
	return server.StopConnection(identity, websocket.CloseError{Code: websocket.CloseNormalClosure, Text: ""})
}
