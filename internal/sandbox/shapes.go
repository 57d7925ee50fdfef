package sandbox

// The shapes of Sellsy's document: which members a request may have, of what type, and which are needed.

func bound(n int64) *int64 { return &n }

var (
	anyText     = &schema{kind: "string"}
	nullText    = &schema{kind: "string", nullable: true}
	date        = &schema{kind: "string", format: "date"}
	nullDate    = &schema{kind: "string", format: "date", nullable: true}
	dateTime    = &schema{kind: "string", format: "date-time"}
	decimal     = &schema{kind: "string", format: "decimal"}
	anyInteger  = &schema{kind: "integer"}
	nullInteger = &schema{kind: "integer", nullable: true}
	positive    = &schema{kind: "integer", min: bound(1)}
	nullIDs     = &schema{kind: "array", nullable: true, items: anyInteger}
	anyBool     = &schema{kind: "boolean"}
	readOnly    = &schema{readOnly: true}
	analytic    = &schema{kind: "string", nullable: true, maxRunes: 13}
)

func choice(values ...string) *schema { return &schema{kind: "string", enum: values} }

func text(maxRunes int) *schema { return &schema{kind: "string", maxRunes: maxRunes} }

func closed(fields map[string]*schema, required ...string) *schema {
	return &schema{kind: "object", fields: fields, required: required}
}

func orNull(s *schema) *schema {
	copied := *s
	copied.nullable = true
	return &copied
}

func listOf(items *schema, minItems int) *schema {
	return &schema{kind: "array", items: items, minItems: minItems}
}

var estimateStatuses = []string{
	"draft", "sent", "read", "accepted", "refused", "expired", "advanced", "partialinvoiced", "invoiced", "cancelled",
}

// invoiceable are the statuses that a parent estimate may have.
var invoiceable = []string{
	"draft", "sent", "read", "accepted", "refused", "expired", "partialinvoiced", "cancelled",
}

var invoiceStatuses = []string{"draft", "due", "payinprogress", "paid", "late", "cancelled"}

var rowDiscount = orNull(closed(map[string]*schema{
	"type": choice("percent", "amount"), "value": decimal, "total": readOnly,
}))

// lineFields are what every row with an amount has, and what Sellsy alone writes into it.
func lineFields(more map[string]*schema) map[string]*schema {
	fields := map[string]*schema{
		"id": readOnly, "tax_rate": readOnly, "tax_amount": readOnly, "tax_label": readOnly,
		"amount_tax_inc": readOnly, "amount_tax_exc": readOnly,
		"unit_amount": decimal, "quantity": decimal, "tax_id": anyInteger, "discount": rowDiscount,
		"reference": text(250), "description": nullText, "accounting_code_id": anyInteger,
		"analytic_code": analytic, "is_optional": anyBool,
	}
	for name, field := range more {
		fields[name] = field
	}
	return fields
}

var row = &schema{variants: []*schema{
	closed(lineFields(map[string]*schema{
		"type": choice("single"), "unit_id": positive, "purchase_amount": decimal,
	}), "type", "quantity", "unit_amount"),
	closed(lineFields(map[string]*schema{
		"type": choice("shipping", "packaging"),
		"related": closed(map[string]*schema{
			"id": anyInteger, "type": choice("shipping", "packaging"),
		}, "id", "type"),
	}), "type", "related", "quantity"),
	closed(lineFields(map[string]*schema{
		"type": choice("catalog"), "unit_id": positive, "purchase_amount": decimal,
		"warehouse_id": nullInteger, "sku_id": nullInteger,
		"eco_tax": orNull(closed(map[string]*schema{"type": choice("inc", "excl"), "value": decimal})),
		"related": closed(map[string]*schema{
			"id": anyInteger, "type": choice("product", "service"), "declination_id": nullInteger,
		}, "id", "type"),
	}), "type", "related", "quantity"),
	closed(map[string]*schema{"id": readOnly, "type": choice("comment", "title"), "text": anyText}, "type"),
	closed(map[string]*schema{"id": readOnly, "type": choice("sub-total"), "amount": readOnly}, "type"),
	closed(map[string]*schema{"id": readOnly, "type": choice("break-line", "break-page")}, "type"),
}}

// term is one form that payment terms may take.
func term(code string, more map[string]*schema, required ...string) *schema {
	fields := map[string]*schema{"id": positive, "code": choice(code)}
	for name, field := range more {
		fields[name] = field
	}
	return closed(fields, append([]string{"id"}, required...)...)
}

var paymentTerms = &schema{variants: []*schema{
	term("onorder", nil), term("endmonth", nil), term("received", nil), term("oninvoice", nil), term("nextmonth", nil),
	term("30days", map[string]*schema{"end_of_month": anyBool}, "end_of_month"),
	term("45days", map[string]*schema{"end_of_month": anyBool}, "end_of_month"),
	term("60days", map[string]*schema{"end_of_month": anyBool}, "end_of_month"),
	term("xdays", map[string]*schema{
		"x_days": {kind: "integer", min: bound(0), max: bound(1000)},
	}, "x_days"),
	term("scaled", map[string]*schema{"x_days": anyInteger, "description": text(262144)}, "x_days", "description"),
	term("custom", map[string]*schema{"due_date": date}, "due_date"),
	term("deadlines", map[string]*schema{
		"deadlines": listOf(closed(map[string]*schema{"date": date, "amount": decimal}, "date", "amount"), 1),
	}, "deadlines"),
}}

var serviceDates = orNull(closed(map[string]*schema{"start": date, "end": date}))

var shippingWeight = orNull(closed(map[string]*schema{"unit": choice("g", "kg", "oz", "lb"), "value": decimal}))

var pdfDisplay = func() *schema {
	fields := map[string]*schema{}
	for _, name := range []string{
		"vat_mention", "bank_account", "check_label", "contact_name", "siret", "siren", "vat_number",
		"company_reference", "payment_methods", "payment_terms", "payment_deadlines", "company_phone_number",
		"delivery_address", "barcode_values", "barcode_images", "reference_column", "quantity_column",
		"image_column", "unit_cost_column", "amount_column", "taxes_column", "discount_column", "vat_law_text",
		"late_penalty_warning_text", "sale_type", "terms_and_conditions_text",
	} {
		fields["show_"+name] = anyBool
	}
	return closed(fields)
}()

var documentSettings = closed(map[string]*schema{
	"payments": orNull(closed(map[string]*schema{
		"payment_modules": {
			kind: "array", unique: true, items: choice("stripe", "atos", "paypal", "adyen", "stancer"),
		},
		"direct_debit_module": orNull(choice("stripe", "gocardless")),
	}, "payment_modules", "direct_debit_module")),
	"pdf_display": pdfDisplay,
	"shipping": closed(map[string]*schema{
		"parcel_count":    {kind: "integer", nullable: true, min: bound(0), max: bound(999999)},
		"tracking_url":    {kind: "string", format: "uri", nullable: true, maxRunes: 250},
		"tracking_number": {kind: "string", nullable: true, maxRunes: 50},
	}, "parcel_count", "tracking_url", "tracking_number"),
	"assigned_staff_label_id": orNull(positive),
})

// newInvoice is what POST /invoices takes.
var newInvoice = closed(map[string]*schema{
	"number": anyText, "date": date, "due_date": date, "created": dateTime, "subject": anyText, "currency": anyText,
	"payment_terms": paymentTerms,
	"discount":      closed(map[string]*schema{"type": choice("percent", "amount"), "value": decimal}),
	"related": listOf(closed(map[string]*schema{
		"id": anyInteger, "type": choice("company", "individual", "opportunity", "contact"),
	}), 1),
	"public_link": closed(map[string]*schema{"enabled": anyBool}), "public_link_enabled": anyBool,
	"assigned_staff_id": anyInteger, "owner_id": positive, "order_reference": text(100),
	"service_dates": serviceDates, "invoicing_address_id": positive, "delivery_address_id": positive,
	"issuer_address_id": anyInteger, "note": text(65535), "shipping_date": nullDate, "shipping_volume": anyText,
	"shipping_weight": shippingWeight, "bank_account_id": orNull(positive), "payment_method_ids": nullIDs,
	"eco_tax_id": nullInteger, "check_label_id": nullInteger, "vat_mode": choice("debit", "collection"),
	"vat_mention": {kind: "string", nullable: true, maxRunes: 255}, "analytic_code": analytic,
	"sale_type": choice("product", "service", "mixed"), "rate_category_id": anyInteger,
	"parent": orNull(closed(map[string]*schema{
		"type": choice("estimate", "order", "delivery", "model"), "id": anyInteger,
	})),
	"rows":     {kind: "array", nullable: true, items: row},
	"settings": documentSettings,
}, "related")

func span(of *schema) *schema { return closed(map[string]*schema{"start": of, "end": of}) }

// invoiceSearch is what POST /invoices/search takes. There is no filter on the parent.
var invoiceSearch = closed(map[string]*schema{
	"filters": closed(map[string]*schema{
		"created": span(dateTime), "date": span(date), "owners": listOf(anyInteger, 0),
		"related_objects": listOf(closed(map[string]*schema{
			"type": choice("company", "individual", "opportunity"), "id": anyInteger,
		}), 0),
		"contacts": listOf(anyInteger, 0), "assigned_staff_ids": listOf(anyInteger, 0),
		"status": listOf(choice(invoiceStatuses...), 0), "number": anyText, "currency": anyText,
		"credit_note_id": anyInteger, "favourite_filter": anyInteger,
		"is_deposit": anyBool, "is_progress_invoice": anyBool,
	}),
}, "filters")

// estimateSearch is what POST /estimates/search takes. There is no filter on when a quote was accepted.
var estimateSearch = closed(map[string]*schema{
	"filters": closed(map[string]*schema{
		"created": span(dateTime), "date": span(date), "owners": listOf(anyInteger, 0), "contacts": listOf(anyInteger, 0),
		"related_objects": listOf(closed(map[string]*schema{
			"type": choice("company", "individual", "opportunity"), "id": anyInteger,
		}), 0),
		"assigned_staff_ids": listOf(anyInteger, 0), "status": listOf(choice(estimateStatuses...), 0), "number": anyText, "currency": anyText,
	}),
}, "filters")

var validation = closed(map[string]*schema{"date": date})

var newStatus = closed(map[string]*schema{"status": choice(estimateStatuses...)}, "status")

// webhookFields are those of an HTTP webhook; type can be given at its creation only.
func webhookFields(create bool) *schema {
	fields := map[string]*schema{
		"is_enabled": anyBool, "name": nullText, "endpoint": anyText, "object_in_payload": anyBool,
		"json_content_type": anyBool, "sign_key": anyText,
		"configuration": listOf(closed(map[string]*schema{"id": anyText, "is_enabled": anyBool}), 0),
	}
	if create {
		fields["type"] = choice("http", "slack")
	}
	return closed(fields)
}

var newWebhook, changedWebhook = webhookFields(true), webhookFields(false)
