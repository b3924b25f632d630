// A peer of evcore's interoperability tests, on github.com/lorenzodonini/ocpp-go, in both roles.
//
// Comes in: one JSON order a line on stdin (connect, listen, call, answer, drop, end). Goes out: one JSON line on stdout for the
// end of each order, and one for each thing that happened (open, call, closed).
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"sync"

	"github.com/lorenzodonini/ocpp-go/ocpp"
	"github.com/lorenzodonini/ocpp-go/ocppj"
	"github.com/lorenzodonini/ocpp-go/ws"
)

// order is a line of the test. Validate: whether outgoing messages are judged by ocpp-go's own rules first.
type order struct {
	Seq      int             `json:"seq"`
	Do       string          `json:"do"`
	URL      string          `json:"url"`
	Identity string          `json:"identity"`
	Version  string          `json:"version"`
	Password *string         `json:"password"`
	Deflate  bool            `json:"deflate"`
	Strict   bool            `json:"strict"`
	Action   string          `json:"action"`
	Payload  json.RawMessage `json:"payload"`
}

// fault is a refusal: an OCPP error code, an HTTP status, or a word of this program.
type fault struct {
	Code        string `json:"code"`
	Description string `json:"description"`
}

func (f fault) Error() string { return f.Code + ": " + f.Description }

// role is a started station or central system of one version.
type role interface {
	call(identity, action string, payload json.RawMessage) (any, error)
	drop(identity string) error
}

// peer holds what the handlers answer and writes the lines.
type peer struct {
	mutex   sync.Mutex
	out     *json.Encoder
	answers map[string]json.RawMessage
	role    role
}

func (p *peer) write(line any) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if err := p.out.Encode(line); err != nil {
		os.Exit(1)
	}
}

func (p *peer) event(name, identity, action string, payload any) {
	p.write(map[string]any{"event": name, "identity": identity, "action": action, "payload": payload})
}

// take tells of a CALL and gives the answer the test chose for its action.
func take[R any](p *peer, identity, action string, request any) (*R, error) {
	p.event("call", identity, action, request)
	p.mutex.Lock()
	raw, found := p.answers[action]
	p.mutex.Unlock()
	if !found {
		return nil, ocpp.NewHandlerError(ocppj.InternalError, "the test gave no answer to "+action)
	}
	var refusal struct {
		Error *fault `json:"$error"`
	}
	if err := json.Unmarshal(raw, &refusal); err == nil && refusal.Error != nil {
		return nil, ocpp.NewHandlerError(ocpp.ErrorCode(refusal.Error.Code), refusal.Error.Description)
	}
	response := new(R)
	if err := json.Unmarshal(raw, response); err != nil {
		return nil, ocpp.NewHandlerError(ocppj.InternalError, err.Error())
	}
	return response, nil
}

// request makes the typed request of an action from JSON.
func request(profiles []*ocpp.Profile, action string, payload json.RawMessage) (ocpp.Request, error) {
	for _, profile := range profiles {
		if feature := profile.GetFeature(action); feature != nil {
			made := reflect.New(feature.GetRequestType()).Interface()
			if err := json.Unmarshal(payload, made); err != nil {
				return nil, err
			}
			return made.(ocpp.Request), nil
		}
	}
	return nil, fault{"unknown", "ocpp-go has no action " + action}
}

// The action no version has: a feature of this program alone.
const oddAction = "NoSuchAction"

type oddRequest struct {
	Data string `json:"data"`
}

func (oddRequest) GetFeatureName() string { return oddAction }

type oddResponse struct{}

func (oddResponse) GetFeatureName() string { return oddAction }

type oddFeature struct{}

func (oddFeature) GetFeatureName() string        { return oddAction }
func (oddFeature) GetRequestType() reflect.Type  { return reflect.TypeOf(oddRequest{}) }
func (oddFeature) GetResponseType() reflect.Type { return reflect.TypeOf(oddResponse{}) }

var oddProfile = ocpp.NewProfile("odd", oddFeature{})

func (p *peer) obey(o order) (any, error) {
	switch o.Do {
	case "connect", "listen":
		ocppj.SetMessageValidation(o.Strict)
		made, result, err := p.begin(o)
		if err == nil {
			p.role = made
		}
		return result, err
	case "call":
		return p.role.call(o.Identity, o.Action, o.Payload)
	case "answer":
		p.mutex.Lock()
		defer p.mutex.Unlock()
		p.answers[o.Action] = o.Payload
		return nil, nil
	case "drop":
		return nil, p.role.drop(o.Identity)
	}
	return nil, fault{"unknown", "no order " + o.Do}
}

func (p *peer) begin(o order) (role, any, error) {
	switch o.Do + " " + o.Version {
	case "connect ocpp1.6":
		return p.connect16(o)
	case "connect ocpp2.0.1":
		return p.connect201(o)
	case "listen ocpp1.6":
		return p.listen16(o)
	case "listen ocpp2.0.1":
		return p.listen201(o)
	}
	return nil, nil, fault{"unknown", "ocpp-go does not speak " + o.Version}
}

func (p *peer) end(o order, result any, err error) {
	line := map[string]any{"seq": o.Seq, "result": result}
	if err != nil {
		line["error"] = described(err)
	}
	p.write(line)
}

func described(err error) fault {
	var given fault
	var refused *ocpp.Error
	var http ws.HttpConnectionError
	switch {
	case errors.As(err, &given):
		return given
	case errors.As(err, &refused):
		return fault{string(refused.Code), refused.Description}
	case errors.As(err, &http):
		return fault{fmt.Sprint(http.HttpCode), http.Details}
	}
	return fault{"error", err.Error()}
}

func main() {
	p := &peer{out: json.NewEncoder(os.Stdout), answers: map[string]json.RawMessage{}}
	p.out.SetEscapeHTML(false)
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var o order
		if err := json.Unmarshal(line, &o); err != nil {
			p.write(map[string]any{"event": "bad order", "payload": err.Error()})
			continue
		}
		if o.Do == "call" {
			go func() {
				result, err := p.obey(o)
				p.end(o, result, err)
			}()
			continue
		}
		result, err := p.obey(o)
		p.end(o, result, err)
	}
}
