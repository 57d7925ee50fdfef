//go:build linux

package examples

import (
	"maps"
	"slices"
	"strings"
)

// tecdocLines are the four types, and how the catalogue's sender is known.
func tecdocLines() []line {
	of := func(product string) string { return `{"productId": "` + product + `"}` }
	curl := `{"eventType":"STOCK_UPDATE","productId":"TD-123456","stock":150}`
	elsewhere, keyless := tecdoc(`{"eventType":"STOCK_UPDATE","productId":"TD-IP","stock":1}`), tecdoc(`{"eventType":"STOCK_UPDATE","productId":"TD-KEY","stock":1}`)
	elsewhere.from, keyless.header = "127.0.0.2", []string{"X-TecDoc-Key", "another-key"}
	return []line{
		{what: "TecDoc STOCK_UPDATE", send: tecdoc(`{"eventType":"STOCK_UPDATE","productId":"TD-1","ean":"5012345678900","stock":150,"supplier":"VALEO","timestamp":"2024-11-15T14:30:00Z"}`),
			audit: ok("tecdoc", "stock.updated"), member: of("TD-1"), see: []fact{cached("150", "GET", "stock:TD-1")}},
		{what: "TecDoc PRICE_CHANGE: with the supplier's margin",
			send:  tecdoc(`{"eventType":"PRICE_CHANGE","productId":"TD-2","ean":"5012345678901","priceHT":45.9,"priceOld":42.5,"currency":"EUR","supplier":"VALEO","timestamp":"2024-11-15T14:30:00Z"}`),
			given: "INSERT INTO prices (product_id, purchase_cents, sale_cents, margin_cents) VALUES ('TD-2', 4250, 5950, 1700)",
			audit: ok("tecdoc", "price.changed"), member: of("TD-2"), see: []fact{row("4590 6426 1836", "SELECT purchase_cents, sale_cents, margin_cents FROM prices WHERE product_id = 'TD-2'")}},
		{what: "TecDoc PRICE_CHANGE: with everybody's margin", send: tecdoc(`{"eventType":"PRICE_CHANGE","productId":"TD-3","priceHT":10,"supplier":"BOSCH","timestamp":"2024-11-15T14:30:00Z"}`),
			audit: ok("tecdoc", "price.changed"), member: of("TD-3"), see: []fact{row("1000 1300 300", "SELECT purchase_cents, sale_cents, margin_cents FROM prices WHERE product_id = 'TD-3'")}},
		{what: "TecDoc NEW_PRODUCT", send: tecdoc(`{"eventType":"NEW_PRODUCT","productId":"TD-4","ean":"5012345678904","stock":12,"priceHT":20.00,"supplier":"VALEO","timestamp":"2024-11-15T14:30:00Z"}`),
			audit: ok("tecdoc", "product.created"), member: of("TD-4"), see: []fact{
				row("5012345678904 VALEO true", "SELECT ean, supplier, available FROM products WHERE id = 'TD-4'"), indexed("TD-4", "ean", "5012345678904"), indexed("TD-4", "available", "true"),
				cached("12", "GET", "stock:TD-4"), row("2000 2800 800", "SELECT purchase_cents, sale_cents, margin_cents FROM prices WHERE product_id = 'TD-4'")}},
		{what: "TecDoc DISCONTINUED", send: tecdoc(`{"eventType":"DISCONTINUED","productId":"TD-5","ean":"5012345678905","supplier":"VALEO","timestamp":"2024-11-15T14:30:00Z"}`),
			given: "INSERT INTO products (id, ean, supplier) VALUES ('TD-5', '5012345678905', 'VALEO')",
			audit: ok("tecdoc", "product.discontinued"), member: of("TD-5"), see: []fact{row("false", "SELECT available FROM products WHERE id = 'TD-5'"), indexed("TD-5", "available", "false")}},
		{what: "TecDoc, the document's curl", send: tecdoc(curl), audit: ok("tecdoc", "stock.updated"), member: of("TD-123456"), see: []fact{cached("150", "GET", "stock:TD-123456")}},
		{what: "TecDoc: a list, whose last value stays", send: tecdoc(`[{"eventType":"STOCK_UPDATE","productId":"TD-6","stock":3},{"eventType":"STOCK_UPDATE","productId":"TD-6","stock":2},{"eventType":"STOCK_UPDATE","productId":"TD-6","stock":1}]`),
			audit: ok("tecdoc", "stock.updated") + "; " + ok("tecdoc", "stock.updated") + "; " + ok("tecdoc", "stock.updated"), member: of("TD-6"), see: []fact{cached("1", "GET", "stock:TD-6")}},
		{what: "TecDoc: another address", send: elsewhere, status: 403, audit: "tecdoc - - 403 address_not_allowed", see: []fact{cached("0", "EXISTS", "stock:TD-IP")}},
		{what: "TecDoc: another key", send: keyless, status: 401, audit: "tecdoc - false 401 credentials_invalid", member: of("TD-KEY"), see: []fact{cached("0", "EXISTS", "stock:TD-KEY")}},
	}
}

// carrierLines are the document's actions for a parcel, the statuses, and the carriers.
func carrierLines() []line {
	of := func(number string) string { return `{"trackingNumber": "` + number + `"}` }
	said := func(carrier, number, status string) request {
		return parcel(carrier, `{"trackingNumber":"`+number+`","carrier":"`+carrier+`","status":"`+status+`","statusCode":"C1","location":"Paris 75001","timestamp":"2024-11-15T16:45:00Z"}`)
	}
	document := `{"trackingNumber":"DHL123456789","carrier":"DHL","status":"DELIVERED","statusCode":"OK","location":"Paris 75001","timestamp":"2024-11-15T16:45:00Z","recipient":"Jean Dupont","signatureUrl":"https://dhl.com/pod/123456789.pdf"}`
	another := said("DHL", "X-1", "DELIVERED")
	another.header = []string{"X-API-Key", carrierKeys["UPS"]}
	lines := []line{
		{what: "Carriers 1: the event in the database", send: parcel("DHL", document), audit: ok("colis", "tracking.delivered"), member: of("DHL123456789"), order: "ORD-L0",
			given: "INSERT INTO shipments VALUES ('DHL123456789', 'ORD-L0')", see: []fact{
				row("DHL DELIVERED OK Paris 75001 2024-11-15 16:45:00 Jean Dupont https://dhl.com/pod/123456789.pdf",
					"SELECT carrier, status, code, location, (at AT TIME ZONE 'UTC')::text, recipient, proof_url FROM tracking WHERE tracking_number = 'DHL123456789'")}},
		{what: "Carriers 2: the cache", send: said("UPS", "1Z-2", "IN_TRANSIT"), audit: ok("colis", "tracking.in_transit"), member: of("1Z-2"), see: []fact{
			cached("IN_TRANSIT", "HGET", "tracking:1Z-2", "status"), cached("Paris 75001", "HGET", "tracking:1Z-2", "location"), cached("UPS", "HGET", "tracking:1Z-2", "carrier")}},
		{what: "Carriers 3: DELIVERED tells the customer", send: said("COLISSIMO", "COL-3", "DELIVERED"), order: "ORD-L3", given: "INSERT INTO shipments VALUES ('COL-3', 'ORD-L3')",
			audit: ok("colis", "tracking.delivered"), member: of("COL-3"), see: []fact{mailed(customer("ORD-L3"), "Votre commande ORD-L3 est livrée", "Le colis COL-3 (COLISSIMO)")}},
		{what: "Carriers 4: DELIVERY_FAILED tells the administrator, and plans the next", send: said("CHRONOPOST", "CHR-4", "DELIVERY_FAILED"), order: "ORD-L4", given: "INSERT INTO shipments VALUES ('CHR-4', 'ORD-L4')",
			audit: ok("colis", "tracking.delivery_failed"), member: of("CHR-4"), see: []fact{
				row("1 true false", "SELECT attempt, planned_on = current_date + 1, done FROM delivery_retries WHERE tracking_number = 'CHR-4'"),
				mailed(admin, "Livraison échouée : colis CHR-4", "CHRONOPOST n'a pas pu livrer le colis CHR-4 (Paris 75001, code C1)"), silent(customer("ORD-L4"))}},
		{what: "Carriers: another one's key", send: another, status: 400, audit: "colis - - 400 body_malformed", member: of("X-1"), see: []fact{row("0", "SELECT count(*) FROM tracking WHERE tracking_number = 'X-1'")}},
	}
	for _, status := range []string{"PICKED_UP", "IN_TRANSIT", "OUT_FOR_DELIVERY", "DELIVERED", "DELIVERY_FAILED", "RETURNED"} {
		typ := strings.ToLower(status)
		lines = append(lines, line{what: "Carriers " + status, send: said("DHL", "S-"+status, status), audit: ok("colis", "tracking."+typ), member: of("S-" + status), see: []fact{
			row("DHL "+status, "SELECT carrier, status FROM tracking WHERE tracking_number = $1", "S-"+status), cached(status, "HGET", "tracking:S-"+status, "status")}})
	}
	for _, carrier := range slices.Sorted(maps.Keys(carrierKeys)) {
		lines = append(lines, line{what: "Carriers " + carrier, send: said(carrier, "K-"+carrier, "PICKED_UP"), audit: ok("colis", "tracking.picked_up"), member: of("K-" + carrier),
			see: []fact{cached(carrier, "HGET", "tracking:K-"+carrier, "carrier")}})
	}
	return lines
}

// workflowLines are the active workflows, and how their caller is known.
func workflowLines() []line {
	message := func(id, data, priority string) request {
		return workflow(id, `{"workflowId":"`+id+`","event":"`+triggers[id]+`","data":`+data+`,"priority":"`+priority+`"}`)
	}
	of := func(id string) string { return `{"workflowId": "` + id + `"}` }
	order := `{"orderId":"ORD-2024-005","items":[{"productId":"PRD-001","quantity":2,"location":"Warehouse-A-Shelf-12"}]}`
	secretless := message("order-fulfillment-v2", `{"orderId":"FORGED"}`, "high")
	secretless.path = "/api/webhooks/n8n/order-fulfillment-v2?secret=another"
	mixed := workflow("stock-alerts", `{"workflowId":"order-fulfillment-v2","event":"order.validated","data":{"orderId":"MIXED"}}`)
	return []line{
		{what: "n8n order-fulfillment-v2", send: message("order-fulfillment-v2", order, "high"), audit: ok("n8n", "order.validated"), member: `{"data": {"orderId": "ORD-2024-005"}}`,
			see: []fact{started("order-fulfillment-v2", `"quantity":2`), started("order-fulfillment-v2", `"priority":"high"`), queued("order-fulfillment-v2", "high")}},
		{what: "n8n stock-alerts", send: message("stock-alerts", `{"productId":"TD-1","stock":2}`, "normal"), audit: ok("n8n", "stock.low"), member: of("stock-alerts"), see: []fact{started("stock-alerts", `"productId":"TD-1"`), queued("stock-alerts", "normal")}},
		{what: "n8n customer-segments", send: message("customer-segments", `{"orderId":"ORD-9"}`, "low"), audit: ok("n8n", "order.completed"), member: of("customer-segments"), see: []fact{started("customer-segments", `"orderId":"ORD-9"`), queued("customer-segments", "low")}},
		{what: "n8n invoice-generation", send: message("invoice-generation", `{"orderId":"ORD-9"}`, "normal"), audit: ok("n8n", "order.shipped"), member: of("invoice-generation"), see: []fact{started("invoice-generation", `"orderId":"ORD-9"`), queued("invoice-generation", "normal")}},
		{what: "n8n support-tickets", send: message("support-tickets", `{"orderId":"ORD-9"}`, "urgent"), audit: ok("n8n", "order.problem"), member: of("support-tickets"), see: []fact{started("support-tickets", `"orderId":"ORD-9"`), queued("support-tickets", "urgent")}},
		{what: "n8n: another secret", send: secretless, status: 401, audit: "n8n - false 401 credentials_invalid", member: `{"data": {"orderId": "FORGED"}}`},
		{what: "n8n: the path of one workflow and the message of another", send: mixed, status: 400, audit: "n8n - - 400 body_malformed", member: `{"data": {"orderId": "MIXED"}}`},
	}
}
