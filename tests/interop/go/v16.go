package main

import (
	"encoding/json"

	"github.com/lorenzodonini/ocpp-go/ocpp"
	ocpp16 "github.com/lorenzodonini/ocpp-go/ocpp1.6"
	"github.com/lorenzodonini/ocpp-go/ocpp1.6/core"
	"github.com/lorenzodonini/ocpp-go/ocpp1.6/firmware"
	"github.com/lorenzodonini/ocpp-go/ocpp1.6/remotetrigger"
	"github.com/lorenzodonini/ocpp-go/ocppj"
	"github.com/lorenzodonini/ocpp-go/ws"
)

var profiles16 = []*ocpp.Profile{core.Profile, remotetrigger.Profile, firmware.Profile, oddProfile}

// Handlers embed the interface they implement in part: the tests ask for nothing else.
type station16 struct {
	core.ChargePointHandler
	peer     *peer
	identity string
}

func (s station16) OnChangeAvailability(r *core.ChangeAvailabilityRequest) (*core.ChangeAvailabilityConfirmation, error) {
	return take[core.ChangeAvailabilityConfirmation](s.peer, s.identity, r.GetFeatureName(), r)
}

func (s station16) OnDataTransfer(r *core.DataTransferRequest) (*core.DataTransferConfirmation, error) {
	return take[core.DataTransferConfirmation](s.peer, s.identity, r.GetFeatureName(), r)
}

func (s station16) OnGetConfiguration(r *core.GetConfigurationRequest) (*core.GetConfigurationConfirmation, error) {
	return take[core.GetConfigurationConfirmation](s.peer, s.identity, r.GetFeatureName(), r)
}

func (s station16) OnRemoteStartTransaction(r *core.RemoteStartTransactionRequest) (*core.RemoteStartTransactionConfirmation, error) {
	return take[core.RemoteStartTransactionConfirmation](s.peer, s.identity, r.GetFeatureName(), r)
}

func (s station16) OnReset(r *core.ResetRequest) (*core.ResetConfirmation, error) {
	return take[core.ResetConfirmation](s.peer, s.identity, r.GetFeatureName(), r)
}

func (s station16) OnTriggerMessage(r *remotetrigger.TriggerMessageRequest) (*remotetrigger.TriggerMessageConfirmation, error) {
	return take[remotetrigger.TriggerMessageConfirmation](s.peer, s.identity, r.GetFeatureName(), r)
}

type central16 struct {
	core.CentralSystemHandler
	peer *peer
}

func (c central16) OnAuthorize(id string, r *core.AuthorizeRequest) (*core.AuthorizeConfirmation, error) {
	return take[core.AuthorizeConfirmation](c.peer, id, r.GetFeatureName(), r)
}

func (c central16) OnBootNotification(id string, r *core.BootNotificationRequest) (*core.BootNotificationConfirmation, error) {
	return take[core.BootNotificationConfirmation](c.peer, id, r.GetFeatureName(), r)
}

func (c central16) OnDataTransfer(id string, r *core.DataTransferRequest) (*core.DataTransferConfirmation, error) {
	return take[core.DataTransferConfirmation](c.peer, id, r.GetFeatureName(), r)
}

func (c central16) OnHeartbeat(id string, r *core.HeartbeatRequest) (*core.HeartbeatConfirmation, error) {
	return take[core.HeartbeatConfirmation](c.peer, id, r.GetFeatureName(), r)
}

func (c central16) OnMeterValues(id string, r *core.MeterValuesRequest) (*core.MeterValuesConfirmation, error) {
	return take[core.MeterValuesConfirmation](c.peer, id, r.GetFeatureName(), r)
}

func (c central16) OnStartTransaction(id string, r *core.StartTransactionRequest) (*core.StartTransactionConfirmation, error) {
	return take[core.StartTransactionConfirmation](c.peer, id, r.GetFeatureName(), r)
}

func (c central16) OnStatusNotification(id string, r *core.StatusNotificationRequest) (*core.StatusNotificationConfirmation, error) {
	return take[core.StatusNotificationConfirmation](c.peer, id, r.GetFeatureName(), r)
}

func (c central16) OnStopTransaction(id string, r *core.StopTransactionRequest) (*core.StopTransactionConfirmation, error) {
	return take[core.StopTransactionConfirmation](c.peer, id, r.GetFeatureName(), r)
}

type connected16 struct {
	station ocpp16.ChargePoint
}

func (c connected16) call(_, action string, payload json.RawMessage) (any, error) {
	made, err := request(profiles16, action, payload)
	if err != nil {
		return nil, err
	}
	return c.station.SendRequest(made)
}

func (c connected16) drop(string) error {
	c.station.Stop()
	return nil
}

func (p *peer) connect16(o order) (role, any, error) {
	client := newClient(o)
	dispatcher := ocppj.NewDefaultClientDispatcher(ocppj.NewFIFOClientQueue(0))
	endpoint := ocppj.NewClient(o.Identity, client, dispatcher, nil, profiles16...)
	station := ocpp16.NewChargePoint(o.Identity, endpoint, client)
	handler := station16{peer: p, identity: o.Identity}
	station.SetCoreHandler(handler)
	station.SetRemoteTriggerHandler(handler)
	endpoint.SetOnDisconnectedHandler(func(error) { p.event("closed", o.Identity, "", nil) })
	if err := station.Start(o.URL); err != nil {
		return nil, nil, err
	}
	return connected16{station}, nil, nil
}

type listening16 struct {
	central ocpp16.CentralSystem
	server  *ws.Server
}

func (l listening16) call(identity, action string, payload json.RawMessage) (any, error) {
	made, err := request(profiles16, action, payload)
	if err != nil {
		return nil, err
	}
	return ordered(func(done func(ocpp.Response, error)) error {
		return l.central.SendRequestAsync(identity, made, done)
	})
}

func (l listening16) drop(identity string) error { return dropConnection(l.server, identity) }

func (p *peer) listen16(o order) (role, any, error) {
	server := newServer(o)
	endpoint := ocppj.NewServer(server, nil, nil, profiles16...)
	central := ocpp16.NewCentralSystem(endpoint, server)
	central.SetCoreHandler(central16{peer: p})
	central.SetNewChargePointHandler(func(c ocpp16.ChargePointConnection) { p.event("open", c.ID(), "", nil) })
	central.SetChargePointDisconnectedHandler(func(c ocpp16.ChargePointConnection) { p.event("closed", c.ID(), "", nil) })
	go central.Start(0, "/{ws}")
	result, err := listening(server)
	return listening16{central, server}, result, err
}

// ordered waits for the callback of an asynchronous request.
func ordered(send func(func(ocpp.Response, error)) error) (any, error) {
	type outcome struct {
		response ocpp.Response
		err      error
	}
	ended := make(chan outcome, 1)
	if err := send(func(response ocpp.Response, err error) { ended <- outcome{response, err} }); err != nil {
		return nil, err
	}
	got := <-ended
	return got.response, got.err
}
