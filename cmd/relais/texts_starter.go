package main

// starterSellsy is the configuration of the main job; starterPlain that of any other provider.
var starterSellsy = text{
	en: `# yaml-language-server: $schema=@schema@
#
# relais: an accepted Sellsy quote becomes one invoice.
# "relais check" tells everything that is wrong with this file; kill -HUP, or "relais reload", puts a
# change in force. ${NAME} is a variable of the environment or of .env beside this file.

listen: ":3000"                  # webhooks and /health
admin_listen: 127.0.0.1:3001     # /health, /ready and /metrics
# trusted_proxies: [10.0.0.0/8]  # whose X-Forwarded-For is believed: your HTTPS proxy

sources:
  sellsy:
    preset: sellsy               # @docs@
    path: @path@        # "Custom endpoint" in Sellsy: https://your-domain@path@
    secret: "${@variable@}"

connections:
  compta:
    kind: sellsy                 # Settings > Developer portal > API V2, a personal access
    client_id: "${SELLSY_CLIENT_ID}"
    client_secret: "${SELLSY_CLIENT_SECRET}"

routes:
  facture-sur-devis-accepte:
    # Without the object in its payload, Sellsy says only that the status changed (estimate.step): the
    # step below reads the quote, and has nothing to do unless it is accepted.
    on: [sellsy/estimate.accepted, sellsy/estimate.step]
    steps:
      - id: facture
        use: sellsy/create-invoice
        with:
          estimate: "${{ event.data.relatedid }}"
          # validate: true       # validate the invoice when its total is the quote's
    # on_dead:                   # who is told when a delivery fails for good
    #   use: slack/post
    #   with: {text: "Quote ${{ event.data.relatedid }}: ${{ failure.message }}"}
`,
	fr: `# yaml-language-server: $schema=@schema@
#
# relais : un devis Sellsy accepté devient une facture, une seule.
# « relais check » dit tout ce qui ne va pas dans ce fichier ; kill -HUP, ou « relais reload », met un
# changement en vigueur. ${NOM} est une variable de l'environnement ou du .env placé à côté.

listen: ":3000"                  # les webhooks et /health
admin_listen: 127.0.0.1:3001     # /health, /ready et /metrics
# trusted_proxies: [10.0.0.0/8]  # dont on croit le X-Forwarded-For : votre serveur mandataire HTTPS

sources:
  sellsy:
    preset: sellsy               # @docs@
    path: @path@        # « Endpoint personnalisé » dans Sellsy : https://votre-domaine@path@
    secret: "${@variable@}"

connections:
  compta:
    kind: sellsy                 # Réglages > Portail développeurs > API V2, un accès personnel
    client_id: "${SELLSY_CLIENT_ID}"
    client_secret: "${SELLSY_CLIENT_SECRET}"

routes:
  facture-sur-devis-accepte:
    # Sans l'objet dans son envoi, Sellsy dit seulement que le statut a changé (estimate.step) : l'étape
    # ci-dessous lit le devis, et n'a rien à faire s'il n'est pas accepté.
    on: [sellsy/estimate.accepted, sellsy/estimate.step]
    steps:
      - id: facture
        use: sellsy/create-invoice
        with:
          estimate: "${{ event.data.relatedid }}"
          # validate: true       # valider la facture quand son total est celui du devis
    # on_dead:                   # qui prévenir quand une livraison échoue pour de bon
    #   use: slack/post
    #   with: {text: "Devis ${{ event.data.relatedid }} : ${{ failure.message }}"}
`,
}

var starterPlain = text{
	en: `# yaml-language-server: $schema=@schema@
#
# relais: what @preset@ sends goes on to your application.
# "relais check" tells everything that is wrong with this file; kill -HUP, or "relais reload", puts a
# change in force. ${NAME} is a variable of the environment or of .env beside this file.

listen: ":3000"                  # webhooks and /health
admin_listen: 127.0.0.1:3001     # /health, /ready and /metrics
# trusted_proxies: [10.0.0.0/8]  # whose X-Forwarded-For is believed: your HTTPS proxy

sources:
  @preset@:
    preset: @preset@             # @docs@
    path: @path@                 # the address to give to the provider: https://your-domain@path@
    secret: "${@variable@}"

routes:
  to-my-application:
    on: "@preset@/**"
    steps:
      - use: http/request        # repeats carry the same Idempotency-Key
        with:
          url: http://127.0.0.1:8080/events
          json: {type: "${{ event.type }}", data: "${{ event.data }}"}
`,
	fr: `# yaml-language-server: $schema=@schema@
#
# relais : ce que @preset@ envoie va à votre application.
# « relais check » dit tout ce qui ne va pas dans ce fichier ; kill -HUP, ou « relais reload », met un
# changement en vigueur. ${NOM} est une variable de l'environnement ou du .env placé à côté.

listen: ":3000"                  # les webhooks et /health
admin_listen: 127.0.0.1:3001     # /health, /ready et /metrics
# trusted_proxies: [10.0.0.0/8]  # dont on croit le X-Forwarded-For : votre serveur mandataire HTTPS

sources:
  @preset@:
    preset: @preset@             # @docs@
    path: @path@                 # l'adresse à donner au fournisseur : https://votre-domaine@path@
    secret: "${@variable@}"

routes:
  vers-mon-application:
    on: "@preset@/**"
    steps:
      - use: http/request        # une répétition porte la même Idempotency-Key
        with:
          url: http://127.0.0.1:8080/evenements
          json: {type: "${{ event.type }}", data: "${{ event.data }}"}
`,
}
