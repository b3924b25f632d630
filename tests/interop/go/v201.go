package main

import (
	"encoding/json"

	"github.com/lorenzodonini/ocpp-go/ocpp"
	ocpp2 "github.com/lorenzodonini/ocpp-go/ocpp2.0.1"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/authorization"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/availability"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/data"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/firmware"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/meter"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/provisioning"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/remotecontrol"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/security"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/transactions"
	"github.com/lorenzodonini/ocpp-go/ocppj"
	"github.com/lorenzodonini/ocpp-go/ws"
)

var profiles201 = []*ocpp.Profile{
	authorization.Profile, availability.Profile, data.Profile, firmware.Profile, meter.Profile, provisioning.Profile,
	remotecontrol.Profile, security.Profile, transactions.Profile, oddProfile,
}

// Handlers embed the interfaces they implement in part: the tests ask for nothing else.
type (
	provisioningStation struct {
		provisioning.ChargingStationHandler
	}
	remoteControlStation struct {
		remotecontrol.ChargingStationHandler
	}
	availabilityStation struct {
		availability.ChargingStationHandler
	}

	provisioningCentral struct{ provisioning.CSMSHandler }
	securityCentral     struct{ security.CSMSHandler }
)

type station201 struct {
	provisioningStation
	remoteControlStation
	availabilityStation
	peer     *peer
	identity string
}

func (s station201) OnChangeAvailability(r *availability.ChangeAvailabilityRequest) (*availability.ChangeAvailabilityResponse, error) {
	return take[availability.ChangeAvailabilityResponse](s.peer, s.identity, r.GetFeatureName(), r)
}

func (s station201) OnDataTransfer(r *data.DataTransferRequest) (*data.DataTransferResponse, error) {
	return take[data.DataTransferResponse](s.peer, s.identity, r.GetFeatureName(), r)
}

func (s station201) OnGetVariables(r *provisioning.GetVariablesRequest) (*provisioning.GetVariablesResponse, error) {
	return take[provisioning.GetVariablesResponse](s.peer, s.identity, r.GetFeatureName(), r)
}

func (s station201) OnReset(r *provisioning.ResetRequest) (*provisioning.ResetResponse, error) {
	return take[provisioning.ResetResponse](s.peer, s.identity, r.GetFeatureName(), r)
}

func (s station201) OnRequestStartTransaction(r *remotecontrol.RequestStartTransactionRequest) (*remotecontrol.RequestStartTransactionResponse, error) {
	return take[remotecontrol.RequestStartTransactionResponse](s.peer, s.identity, r.GetFeatureName(), r)
}

func (s station201) OnTriggerMessage(r *remotecontrol.TriggerMessageRequest) (*remotecontrol.TriggerMessageResponse, error) {
	return take[remotecontrol.TriggerMessageResponse](s.peer, s.identity, r.GetFeatureName(), r)
}

type central201 struct {
	provisioningCentral
	securityCentral
	peer *peer
}

func (c central201) OnAuthorize(id string, r *authorization.AuthorizeRequest) (*authorization.AuthorizeResponse, error) {
	return take[authorization.AuthorizeResponse](c.peer, id, r.GetFeatureName(), r)
}

func (c central201) OnBootNotification(id string, r *provisioning.BootNotificationRequest) (*provisioning.BootNotificationResponse, error) {
	return take[provisioning.BootNotificationResponse](c.peer, id, r.GetFeatureName(), r)
}

func (c central201) OnDataTransfer(id string, r *data.DataTransferRequest) (*data.DataTransferResponse, error) {
	return take[data.DataTransferResponse](c.peer, id, r.GetFeatureName(), r)
}

func (c central201) OnHeartbeat(id string, r *availability.HeartbeatRequest) (*availability.HeartbeatResponse, error) {
	return take[availability.HeartbeatResponse](c.peer, id, r.GetFeatureName(), r)
}

func (c central201) OnMeterValues(id string, r *meter.MeterValuesRequest) (*meter.MeterValuesResponse, error) {
	return take[meter.MeterValuesResponse](c.peer, id, r.GetFeatureName(), r)
}

func (c central201) OnNotifyReport(id string, r *provisioning.NotifyReportRequest) (*provisioning.NotifyReportResponse, error) {
	return take[provisioning.NotifyReportResponse](c.peer, id, r.GetFeatureName(), r)
}

func (c central201) OnSecurityEventNotification(id string, r *security.SecurityEventNotificationRequest) (*security.SecurityEventNotificationResponse, error) {
	return take[security.SecurityEventNotificationResponse](c.peer, id, r.GetFeatureName(), r)
}

func (c central201) OnStatusNotification(id string, r *availability.StatusNotificationRequest) (*availability.StatusNotificationResponse, error) {
	return take[availability.StatusNotificationResponse](c.peer, id, r.GetFeatureName(), r)
}

func (c central201) OnTransactionEvent(id string, r *transactions.TransactionEventRequest) (*transactions.TransactionEventResponse, error) {
	return take[transactions.TransactionEventResponse](c.peer, id, r.GetFeatureName(), r)
}

type connected201 struct {
	station ocpp2.ChargingStation
}

func (c connected201) call(_, action string, payload json.RawMessage) (any, error) {
	made, err := request(profiles201, action, payload)
	if err != nil {
		return nil, err
	}
	return c.station.SendRequest(made)
}

func (c connected201) drop(string) error {
	c.station.Stop()
	return nil
}

func (p *peer) connect201(o order) (role, any, error) {
	client := newClient(o)
	dispatcher := ocppj.NewDefaultClientDispatcher(ocppj.NewFIFOClientQueue(0))
	endpoint := ocppj.NewClient(o.Identity, client, dispatcher, nil, profiles201...)
	station := ocpp2.NewChargingStation(o.Identity, endpoint, client)
	handler := station201{peer: p, identity: o.Identity}
	station.SetAvailabilityHandler(handler)
	station.SetDataHandler(handler)
	station.SetProvisioningHandler(handler)
	station.SetRemoteControlHandler(handler)
	endpoint.SetOnDisconnectedHandler(func(error) { p.event("closed", o.Identity, "", nil) })
	if err := station.Start(o.URL); err != nil {
		return nil, nil, err
	}
	return connected201{station}, nil, nil
}

type listening201 struct {
	central ocpp2.CSMS
	server  *ws.Server
}

func (l listening201) call(identity, action string, payload json.RawMessage) (any, error) {
	made, err := request(profiles201, action, payload)
	if err != nil {
		return nil, err
	}
	return ordered(func(done func(ocpp.Response, error)) error {
		return l.central.SendRequestAsync(identity, made, done)
	})
}

func (l listening201) drop(identity string) error { return dropConnection(l.server, identity) }

func (p *peer) listen201(o order) (role, any, error) {
	server := newServer(o)
	endpoint := ocppj.NewServer(server, nil, nil, profiles201...)
	central := ocpp2.NewCSMS(endpoint, server)
	handler := central201{peer: p}
	central.SetAuthorizationHandler(handler)
	central.SetAvailabilityHandler(handler)
	central.SetDataHandler(handler)
	central.SetMeterHandler(handler)
	central.SetProvisioningHandler(handler)
	central.SetSecurityHandler(handler)
	central.SetTransactionsHandler(handler)
	central.SetNewChargingStationHandler(func(c ocpp2.ChargingStationConnection) { p.event("open", c.ID(), "", nil) })
	central.SetChargingStationDisconnectedHandler(func(c ocpp2.ChargingStationConnection) { p.event("closed", c.ID(), "", nil) })
	go central.Start(0, "/{ws}")
	result, err := listening(server)
	return listening201{central, server}, result, err
}
