package main

// details stand in a command's own help: what to know, and examples to copy. Indented lines are shown
// as they are.
var details = map[string]text{
	"": {
		`First steps: "relais demo" tells the whole story; "relais init", "relais check" and "relais serve" start your own.

Exit codes: 0 done, 1 refused or failed, 2 the command line is wrong, 3 the configuration has problems, 4 no such thing, 5 the data folder or the server can't be used.`,
		`Premiers pas : « relais demo » raconte toute l'histoire ; « relais init », « relais check » puis « relais serve » lancent la vôtre.

Codes de sortie : 0 fait, 1 refusé ou échoué, 2 ligne de commande erronée, 3 la configuration a des erreurs, 4 introuvable, 5 dossier des données ou serveur inutilisable.`,
	},
	"serve": {
		"A hang-up signal (kill -HUP) reloads the configuration; a file with problems changes nothing. An interrupt stops once what runs has ended.\n\nExample:\n\n  relais serve --config relais.yaml --data /var/lib/relais",
		"Le signal HUP (kill -HUP) recharge la configuration ; un fichier erroné ne change rien. Une interruption arrête relais une fois fini ce qui tourne.\n\nExemple :\n\n  relais serve --config relais.yaml --data /var/lib/relais",
	},
	"demo": {
		"Starts an imitation of Sellsy in a process of its own, sends signed webhooks to relais, and tells what happened. Nothing leaves this machine.\n\nExamples:\n\n  relais demo\n  relais demo --once",
		"Lance une imitation de Sellsy dans un processus à part, envoie des webhooks signés à relais et raconte ce qui se passe. Rien ne sort de cette machine.\n\nExemples :\n\n  relais demo\n  relais demo --once",
	},
	"init": {
		"Writes the configuration, and beside it .env with the secrets, which only you can read.\n\nExample:\n\n  relais init --preset sellsy",
		"Écrit la configuration et, à côté, .env avec les secrets, que vous seul pouvez lire.\n\nExemple :\n\n  relais init --preset sellsy",
	},
	"asyncapi": {
		"AsyncAPI 3.0: a channel for each path, a message for each event type with its sample, and how requests are verified. A server has it at /asyncapi.yaml of admin_listen. It holds no secret.\n\nExample:\n\n  relais asyncapi > asyncapi.yaml",
		"AsyncAPI 3.0 : un canal par chemin, un message par type d'événement avec son exemple, et la façon de vérifier les requêtes. Un serveur le donne à /asyncapi.yaml de admin_listen. Il ne contient aucun secret.\n\nExemple :\n\n  relais asyncapi > asyncapi.yaml",
	},
	"check": {
		"All problems at once, one line each, with the place and what is allowed.\n\nExample:\n\n  relais check --config relais.yaml",
		"Toutes les erreurs d'un coup, une par ligne, avec l'endroit et ce qui est permis.\n\nExemple :\n\n  relais check --config relais.yaml",
	},
	"send": {
		"Signs with the source's configured secret. Without a type, lists the samples that there are.\n\nExamples:\n\n  relais send sellsy estimate.accepted --id 52437688\n  relais send sellsy estimate.step --file body.txt --url https://hooks.example.fr/webhook/sellsy",
		"Signe avec le secret de la source. Sans type, liste les exemples disponibles.\n\nExemples :\n\n  relais send sellsy estimate.accepted --id 52437688\n  relais send sellsy estimate.step --file corps.txt --url https://hooks.example.fr/webhook/sellsy",
	},
	"status": {
		"Example:\n\n  relais status --data /var/lib/relais",
		"Exemple :\n\n  relais status --data /var/lib/relais",
	},
	"nodes": {
		"On PostgreSQL, several relais share one store. Each tells of itself every few seconds; one that hasn't for\n7.5 s is gone, and the others take over what it ran.\n\nExample:\n\n  relais nodes --config relais.yaml",
		"Sur PostgreSQL, plusieurs relais partagent une base. Chacun donne signe de vie toutes les quelques secondes ;\ncelui qui se tait 7,5 s est tenu pour disparu, et les autres reprennent ce qu'il faisait.\n\nExemple :\n\n  relais nodes --config relais.yaml",
	},
	"spool": {
		"Example:\n\n  relais spool drain /mnt/old-node/relais-data/spool",
		"Exemple :\n\n  relais spool drain /mnt/ancien/relais-data/spool",
	},
	"spool drain": {
		"The node must not run: a running one drains its spool by itself. Routes are those in force in the database.\nIt can be stopped and started again.\n\nExample:\n\n  relais spool drain /mnt/old-node/relais-data/spool --config relais.yaml",
		"Le nœud ne doit pas tourner : s'il tourne, il vide sa file lui-même. Les routes sont celles en vigueur dans la base.\nOn peut interrompre et recommencer.\n\nExemple :\n\n  relais spool drain /mnt/ancien/relais-data/spool --config relais.yaml",
	},
	"reload": {
		"Example:\n\n  relais check\n  relais reload",
		"Exemple :\n\n  relais check\n  relais reload",
	},
	"events": {
		"Example:\n\n  relais events --source sellsy --since 2h",
		"Exemple :\n\n  relais events --source sellsy --since 2h",
	},
	"deliveries": {
		"Example:\n\n  relais deliveries --state dead",
		"Exemple :\n\n  relais deliveries --state dead",
	},
	"rejections": {
		"Example:\n\n  relais rejections --source sellsy",
		"Exemple :\n\n  relais rejections --source sellsy",
	},
	"effects": {
		"Example:\n\n  relais effects --state unknown",
		"Exemple :\n\n  relais effects --state unknown",
	},
	"events list": {
		"--where reads the events with their bodies, newest first, until --limit are found: give --source or --since where there are many. How far it is stands on the standard error, every 10,000 events.\n\nExamples:\n\n  relais events\n  relais events list --source sellsy --type 'estimate.*' --since 2h\n  relais events --where 'event.data.amount > 1000' --since 1d\n  relais events --json | jq '.items[].id'",
		"--where lit les événements et leurs corps, du plus récent au plus ancien, jusqu'à en trouver --limit : donnez --source ou --since quand il y en a beaucoup. L'avancement est écrit sur la sortie d'erreur tous les 10 000 événements.\n\nExemples :\n\n  relais events\n  relais events list --source sellsy --type 'estimate.*' --since 2h\n  relais events --where 'event.data.amount > 1000' --since 1d\n  relais events --json | jq '.items[].id'",
	},
	"events show": {
		"Example:\n\n  relais events show evt_0192f0c1a2b37c5d8e9f001122334455 --body",
		"Exemple :\n\n  relais events show evt_0192f0c1a2b37c5d8e9f001122334455 --body",
	},
	"events purge": {
		"Their bodies, deliveries and attempts go; what was done in other systems stays, and so does the ledger that keeps it from being done twice. An event on which the condition can't be evaluated is kept and counted. Refused requests are not events: they go by their own age.\n\nExamples:\n\n  relais events purge --where 'event.data.email == \"anne@example.fr\"' --dry-run\n  relais events purge evt_0192f0c1a2b37c5d8e9f001122334455",
		"Leurs corps, livraisons et tentatives disparaissent ; ce qui a été fait ailleurs reste, ainsi que le registre qui empêche de le refaire. Un événement sur lequel la condition ne peut être évaluée est gardé et compté. Les requêtes refusées ne sont pas des événements : elles partent selon leur propre âge.\n\nExemples :\n\n  relais events purge --where 'event.data.email == \"anne@example.fr\"' --dry-run\n  relais events purge evt_0192f0c1a2b37c5d8e9f001122334455",
	},
	"deliveries list": {
		"Examples:\n\n  relais deliveries --state dead\n  relais deliveries list --destination route:facture-sur-devis-accepte --since 1d",
		"Exemples :\n\n  relais deliveries --state dead\n  relais deliveries list --destination route:facture-sur-devis-accepte --since 1d",
	},
	"deliveries show": {
		"Example:\n\n  relais deliveries show dlv_42",
		"Exemple :\n\n  relais deliveries show dlv_42",
	},
	"deliveries cancel": {
		"Example:\n\n  relais deliveries cancel dlv_42 dlv_43",
		"Exemple :\n\n  relais deliveries cancel dlv_42 dlv_43",
	},
	"rejections list": {
		"Example:\n\n  relais rejections list --source sellsy --reason signature_invalid",
		"Exemple :\n\n  relais rejections list --source sellsy --reason signature_invalid",
	},
	"rejections show": {
		"Example:\n\n  relais rejections show 17 --body",
		"Exemple :\n\n  relais rejections show 17 --body",
	},
	"dolibarr": {
		"Example:\n\n  relais dolibarr install --dry-run",
		"Exemple :\n\n  relais dolibarr install --dry-run",
	},
	"sellsy": {
		"Example:\n\n  relais sellsy install --dry-run",
		"Exemple :\n\n  relais sellsy install --dry-run",
	},
	"dolibarr install": {
		"Dolibarr can't sign: the secret stands in the address, in its query or as Basic, as the source's verify says. The webhook doesn't block: what a blocking one can't deliver undoes the user's work.\n\nExamples:\n\n  relais dolibarr install --dry-run\n  relais dolibarr install --url https://hooks.example.fr",
		"Dolibarr ne sait pas signer : le secret est dans l'adresse, en paramètre ou en Basic, comme le dit le verify de la source. Le webhook n'est pas bloquant : un webhook bloquant qui échoue annule le travail de l'utilisateur.\n\nExemples :\n\n  relais dolibarr install --dry-run\n  relais dolibarr install --url https://hooks.example.fr",
	},
	"dolibarr reconcile": {
		"Dolibarr never sends again what didn't arrive. What can be told from the state of proposals, orders, invoices and third parties is made up for; run twice, it makes nothing twice. reconcile: 15m in the source does it all the time.\n\nExample:\n\n  relais dolibarr reconcile --since 7d --dry-run",
		"Dolibarr ne renvoie jamais ce qui n'est pas arrivé. Ce qui se lit dans l'état des propositions, commandes, factures et tiers est rattrapé ; lancée deux fois, la commande ne crée rien en double. reconcile: 15m dans la source le fait en continu.\n\nExemple :\n\n  relais dolibarr reconcile --since 7d --dry-run",
	},
	"sellsy install": {
		"The webhook signs with the source's secret and carries the object.\n\nExample:\n\n  relais sellsy install --url https://hooks.example.fr --dry-run",
		"Le webhook signe avec le secret de la source et porte l'objet.\n\nExemple :\n\n  relais sellsy install --url https://hooks.example.fr --dry-run",
	},
	"sellsy reconcile": {
		"Finds the quotes made since that time that are accepted and have no event. Sellsy doesn't say since when they are: those that still have none two minutes later get one, so the command takes as long. Run twice, it makes nothing twice.\n\nExample:\n\n  relais sellsy reconcile --since 30d --dry-run",
		"Trouve les devis créés depuis cette date, acceptés et sans événement. Sellsy ne dit pas depuis quand ils sont acceptés : ceux qui n'en ont toujours pas deux minutes plus tard en reçoivent un, et la commande dure d'autant. Lancée deux fois, elle ne crée rien en double.\n\nExemple :\n\n  relais sellsy reconcile --since 30d --dry-run",
	},
	"rejections retry": {
		"Only a request whose signature alone was wrong is kept whole, and can be verified again.\n\nExample:\n\n  relais rejections retry --source sellsy",
		"Seule une requête dont la signature était fausse, et rien d'autre, est gardée entière et peut être vérifiée à nouveau.\n\nExemple :\n\n  relais rejections retry --source sellsy",
	},
	"effects list": {
		"A done effect was done. An open one was not sent: its delivery had nothing to do, or ended before. A sent one is being done or looked for; an unknown one waits for you. DELIVERY is the last that was at it.\n\nExample:\n\n  relais effects list --state unknown",
		"Un effet done est fait. Un effet open n'a pas été envoyé : sa livraison n'avait rien à faire, ou a fini avant. Un effet sent est en cours ou recherché ; un effet unknown vous attend. LIVRAISON est la dernière qui s'en est occupée.\n\nExemple :\n\n  relais effects list --state unknown",
	},
	"effects show": {
		"Example:\n\n  relais effects show default/compta/invoice/estimate/52437688",
		"Exemple :\n\n  relais effects show default/compta/invoice/estimate/52437688",
	},
	"effects resolve": {
		"Look in the other system first: what you say here is believed. Then replay the delivery.\n\nExamples:\n\n  relais effects resolve default/compta/invoice/estimate/52437688 --done 1204\n  relais effects resolve default/compta/invoice/estimate/52437688 --absent",
		"Regardez d'abord dans l'autre système : ce que vous dites ici est cru. Rejouez ensuite la livraison.\n\nExemples :\n\n  relais effects resolve default/compta/invoice/estimate/52437688 --done 1204\n  relais effects resolve default/compta/invoice/estimate/52437688 --absent",
	},
	"replay": {
		"What was done once stays done once: the ledger is respected. A delivery that is still to run by itself is not replayed. A number is a request's id in the view ic_postback; one that was refused is verified again, as rejections retry does. A replay with --all that is interrupted says where it was: --after goes on there.\n\nExamples:\n\n  relais replay dlv_42\n  relais replay --state dead --source sellsy --since 1d --dry-run\n  relais replay evt_0192f0c1a2b37c5d8e9f001122334455 --destination route:facture --from-step 2\n  relais replay 4711\n  relais replay --reason exhausted --where 'event.data.amount > 1000' --since 2026-03-02 --all",
		"Ce qui a été fait une fois n'est pas refait : le registre est respecté. Une livraison qui doit encore partir d'elle-même n'est pas rejouée. Un nombre est l'id d'une requête dans la vue ic_postback ; une requête refusée est vérifiée à nouveau, comme par rejections retry. Un rejeu avec --all qui est interrompu dit où il en était : --after reprend là.\n\nExemples :\n\n  relais replay dlv_42\n  relais replay --state dead --source sellsy --since 1d --dry-run\n  relais replay evt_0192f0c1a2b37c5d8e9f001122334455 --destination route:facture --from-step 2\n  relais replay 4711\n  relais replay --reason exhausted --where 'event.data.amount > 1000' --since 2026-03-02 --all",
	},
	"pause": {
		"Examples:\n\n  relais pause\n  relais pause all --reason 'Sellsy maintenance'\n  relais pause route facture-sur-devis-accepte",
		"Exemples :\n\n  relais pause\n  relais pause all --reason 'maintenance Sellsy'\n  relais pause route facture-sur-devis-accepte",
	},
	"resume": {
		"Examples:\n\n  relais resume\n  relais resume route facture-sur-devis-accepte",
		"Exemples :\n\n  relais resume\n  relais resume route facture-sur-devis-accepte",
	},
	"backup": {
		"The copy is of the moment at which it ends, checked, and readable by you only. Events are received meanwhile. The server writes the file itself, under the path that you give; until it is whole it is called FILE.partial. PostgreSQL has its own tools.\n\nExamples:\n\n  relais backup /var/backups/relais.db\n  relais backup --force --json /var/backups/relais.db",
		"La copie est celle de l'instant où elle finit, vérifiée, et lisible par vous seul. La réception continue pendant ce temps. Le serveur écrit lui-même le fichier, au chemin indiqué ; tant qu'il n'est pas entier, il s'appelle FICHIER.partial. PostgreSQL a ses propres outils.\n\nExemples :\n\n  relais backup /var/backups/relais.db\n  relais backup --force --json /var/backups/relais.db",
	},
	"store": {
		"Examples:\n\n  relais store copy --dry-run\n  relais store copy --to postgres://relais:secret@db.example.fr/relais",
		"Exemples :\n\n  relais store copy --dry-run\n  relais store copy --to postgres://relais:secret@db.example.fr/relais",
	},
	"store copy": {
		"Stop relais first. All is copied with its numbers: events, deliveries, attempts, effects, keys of repeats, pauses, the audit. A copy that is interrupted goes on where it was when the command is run again. At the end the rows are counted on both sides. The folder is not changed, but for a mark that keeps \"relais serve\" from working on it again.\n\nExamples:\n\n  relais store copy --dry-run\n  relais store copy --to postgres://relais:secret@db.example.fr/relais\n  relais store copy --config relais.yaml --data relais-data --json",
		"Arrêtez d'abord relais. Tout est copié avec ses numéros : événements, livraisons, tentatives, effets, clés de répétition, pauses, audit. Une copie interrompue reprend où elle en était quand on relance la commande. À la fin, les lignes sont comptées des deux côtés. Le dossier n'est pas modifié, sauf une marque qui empêche « relais serve » d'y travailler encore.\n\nExemples :\n\n  relais store copy --dry-run\n  relais store copy --to postgres://relais:secret@db.example.fr/relais\n  relais store copy --config relais.yaml --data relais-data --json",
	},
	"bench": {
		"An open-loop generator measures servers in processes of their own. A target that is missed is told, and ends in exit code 1.\n\nExample:\n\n  relais bench --only latency --results bench/results",
		"Un générateur en boucle ouverte mesure des serveurs dans leurs propres processus. Une cible manquée est signalée, et donne le code de sortie 1.\n\nExemple :\n\n  relais bench --only latency --results bench/results",
	},
	"version": {
		"Example:\n\n  relais version --json",
		"Exemple :\n\n  relais version --json",
	},
}
