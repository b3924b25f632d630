// The peer of the server benches on ocpp-go: one central system for OCPP 1.6, one CSMS for 2.0.1, each on a free port.
//
// Comes in: charging stations at ws://127.0.0.1:PORT/IDENTITY. Goes out: the minimal valid answer to BootNotification,
// Heartbeat, StatusNotification, MeterValues and TransactionEvent, and one line of JSON with the ports on standard output.
package main

import (
	"fmt"
	"os"
	"time"

	ocpp16 "github.com/lorenzodonini/ocpp-go/ocpp1.6"
	"github.com/lorenzodonini/ocpp-go/ocpp1.6/core"
	types16 "github.com/lorenzodonini/ocpp-go/ocpp1.6/types"
	ocpp2 "github.com/lorenzodonini/ocpp-go/ocpp2.0.1"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/availability"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/meter"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/provisioning"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/transactions"
	types2 "github.com/lorenzodonini/ocpp-go/ocpp2.0.1/types"
	"github.com/lorenzodonini/ocpp-go/ws"
)

const interval = 300

// v16 answers what the benches send; an action they do not send would meet the nil interface.
type v16 struct{ core.CentralSystemHandler }

func (v16) OnBootNotification(string, *core.BootNotificationRequest) (*core.BootNotificationConfirmation, error) {
	return core.NewBootNotificationConfirmation(types16.Now(), interval, core.RegistrationStatusAccepted), nil
}

func (v16) OnHeartbeat(string, *core.HeartbeatRequest) (*core.HeartbeatConfirmation, error) {
	return core.NewHeartbeatConfirmation(types16.Now()), nil
}

func (v16) OnStatusNotification(string, *core.StatusNotificationRequest) (*core.StatusNotificationConfirmation, error) {
	return core.NewStatusNotificationConfirmation(), nil
}

func (v16) OnMeterValues(string, *core.MeterValuesRequest) (*core.MeterValuesConfirmation, error) {
	return core.NewMeterValuesConfirmation(), nil
}

type provisioner struct{ provisioning.CSMSHandler }

func (provisioner) OnBootNotification(string, *provisioning.BootNotificationRequest) (*provisioning.BootNotificationResponse, error) {
	return provisioning.NewBootNotificationResponse(types2.Now(), interval, provisioning.RegistrationStatusAccepted), nil
}

type v2 struct{}

func (v2) OnHeartbeat(string, *availability.HeartbeatRequest) (*availability.HeartbeatResponse, error) {
	return availability.NewHeartbeatResponse(*types2.Now()), nil
}

func (v2) OnStatusNotification(string, *availability.StatusNotificationRequest) (*availability.StatusNotificationResponse, error) {
	return availability.NewStatusNotificationResponse(), nil
}

func (v2) OnMeterValues(string, *meter.MeterValuesRequest) (*meter.MeterValuesResponse, error) {
	return meter.NewMeterValuesResponse(), nil
}

func (v2) OnTransactionEvent(string, *transactions.TransactionEventRequest) (*transactions.TransactionEventResponse, error) {
	return transactions.NewTransactionEventResponse(), nil
}

// patient is a server that does not cut off a station for sending no ping: connections wait while others are measured.
func patient() *ws.Server {
	server := ws.NewServer()
	timeouts := ws.NewServerTimeoutConfig()
	timeouts.PingWait = 0
	server.SetTimeoutConfig(timeouts)
	return server
}

func port(server *ws.Server) int {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if address := server.Addr(); address != nil && address.Port != 0 {
			return address.Port
		}
	}
	fmt.Fprintln(os.Stderr, "ocpp-go did not begin to listen within 10 s")
	os.Exit(1)
	return 0
}

func main() {
	first, second := patient(), patient()

	central := ocpp16.NewCentralSystem(nil, first)
	central.SetCoreHandler(v16{})
	go central.Start(0, "/{identity}")

	csms := ocpp2.NewCSMS(nil, second)
	csms.SetProvisioningHandler(provisioner{})
	csms.SetAvailabilityHandler(v2{})
	csms.SetMeterHandler(v2{})
	csms.SetTransactionsHandler(v2{})
	go csms.Start(0, "/{identity}")

	fmt.Printf("{\"ocpp1.6\": %d, \"ocpp2.0.1\": %d}\n", port(first), port(second))
	select {}
}
