package main

import (
	"regexp"
	"strings"
)

// answers are what a newcomer meets of the texts that other packages write in English: what isn't there,
// what is wrong with a configuration, why a request was refused. What no pattern knows stays as it is.
var answers = []struct {
	pattern *regexp.Regexp
	french  string
}{
	{regexp.MustCompile(`^there is no event (\S+)$`), "il n'y a pas d'événement $1"},
	{regexp.MustCompile(`^there is no effect (\S+)$`), "il n'y a pas d'effet $1"},
	{regexp.MustCompile(`^there is no delivery (\S+)$`), "il n'y a pas de livraison $1"},
	{regexp.MustCompile(`^there is no rejection (\S+)$`), "il n'y a pas de rejet $1"},
	{regexp.MustCompile(`^there is no (source|route|destination) ("[^"]*")(.*)$`), "il n'y a pas de $1 $2$3"},
	{regexp.MustCompile(`^(.+) is not paused$`), "$1 n'est pas en pause"},
	{regexp.MustCompile(`^(dlv_\S+) is (\w+): only a delivery that waits.*$`), "$1 est $2 : seule une livraison en attente, ou une morte qui en fait attendre d'autres, peut être annulée"},
	{regexp.MustCompile(`^the effect (\S+) is done, and stays done$`), "l'effet $1 est fait, et le reste"},
	{regexp.MustCompile(`^the effect (\S+) is done already$`), "l'effet $1 est déjà fait"},
	{regexp.MustCompile(`^the effect (\S+) is (\w+), not (\w+)$`), "l'effet $1 est $2, et non $3"},
	{regexp.MustCompile(`^no relais runs on this data folder.*$`), "aucun relais ne tourne sur ce dossier de données : la configuration sera lue au prochain démarrage"},
	{regexp.MustCompile(`^the data folder (.+) is in use by process (\d+)$`), "le dossier de données $1 est utilisé par le processus $2"},
	{regexp.MustCompile(`^say what to replay: .*$`), "dites quoi rejouer : des événements, des livraisons, ou un filtre (source, type, période, état, raison, condition, destination)"},
	{regexp.MustCompile(`^there is no request (\S+)$`), "il n'y a pas de requête $1"},
	{regexp.MustCompile(`^request (\d+) was refused: it is rejection (\d+), which is verified again, not replayed$`), "la requête $1 a été refusée : c'est le rejet $2, que l'on vérifie à nouveau et que l'on ne rejoue pas"},
	{regexp.MustCompile(`^a reason is what a delivery is dead for: .*$`), "une raison dit pourquoi une livraison est morte : ôtez l'état, ou donnez dead"},
	{regexp.MustCompile(`^after goes with oldest$`), "--after va avec --all"},
	{regexp.MustCompile(`^(-?\d+) is no request's id: those are positive$`), "$1 n'est pas l'id d'une requête : les id sont positifs"},
	{regexp.MustCompile(`^give events or deliveries, not both$`), "donnez des événements ou des livraisons, pas les deux"},
	{regexp.MustCompile(`^named deliveries take no filter: .*$`), "des livraisons nommées ne prennent pas de filtre : chacune va à sa propre destination"},
	{regexp.MustCompile(`^named events take no filter but a destination$`), "des événements nommés ne prennent pas de filtre, sauf une destination"},
	{regexp.MustCompile(`^a purge needs a condition \(where\) or events: .*$`), "une purge veut une condition (--where) ou des événements : elle efface pour de bon"},
	{regexp.MustCompile(`^say which: a source, or ids$`), "dites lesquelles : une source, ou des numéros"},
	{regexp.MustCompile(`^its delivery is still pending and will end by itself$`), "leur livraison est encore en attente et s'achèvera d'elle-même"},
	{regexp.MustCompile(`^its delivery is still running and will end by itself$`), "leur livraison est en cours et s'achèvera d'elle-même"},
	{regexp.MustCompile(`^(.+) exists: it is replaced only with --force$`), "$1 existe déjà : il n'est remplacé qu'avec --force"},
	{regexp.MustCompile(`^the store can't be used: (.+)$`), "la base est inutilisable : $1"},
	{regexp.MustCompile(`^(listen|admin_listen) (\S+): another program listens there.*$`), "$1 $2 : un autre programme y écoute ; arrêtez-le, ou donnez une autre adresse dans le fichier ou en option"},
	{regexp.MustCompile(`^(listen|admin_listen) (\S+): this user may not listen there; .*$`), "$1 $2 : cet utilisateur n'a pas le droit d'y écouter ; donnez un port à partir de 1024, ou ce droit (CAP_NET_BIND_SERVICE)"},
	{regexp.MustCompile(`^(listen|admin_listen) (\S+): this machine has no such address; .*$`), "$1 $2 : cette machine n'a pas cette adresse ; :PORT écoute sur toutes les siennes"},
	{regexp.MustCompile(`^the data folder can't be made: (.*); give its user the right to, or another folder as --data$`), "le dossier de données ne peut pas être créé : $1 ; donnez-en le droit à cet utilisateur, ou un autre dossier avec --data"},
	{regexp.MustCompile(`^source (\S+): only its provider has the private key; .*$`), "source $1 : seul le fournisseur a la clé privée ; relais sait vérifier ses signatures, pas les faire"},
	{regexp.MustCompile(`^source (\S+) has no secret yet: .*$`), "la source $1 n'a pas encore de secret : le fournisseur en donne un quand il vérifie l'adresse"},
	{regexp.MustCompile(`^source (\S+) has no samples: .*$`), "la source $1 n'a pas d'exemples : son préréglage n'en contient pas"},
	{regexp.MustCompile(`^source (\S+) has no sample of ("[^"]*")(.*)$`), "la source $1 n'a pas d'exemple de $2$3"},

	{regexp.MustCompile(`^not well formed: (.*)$`), "mal formé : $1"},
	{regexp.MustCompile(`^the expression isn't well formed: (.*)$`), "l'expression est mal formée : $1"},
	{regexp.MustCompile(`^the key stands twice; the first is on line (\d+)$`), "la clé est écrite deux fois ; la première est à la ligne $1"},
	{regexp.MustCompile(`^anchors \(&\) and aliases \(\*\) are not allowed: .*$`), "ni ancre (&) ni alias (*) : mettez entre guillemets une valeur qui commence par & ou *"},
	{regexp.MustCompile(`^keys with values are expected here, and this is (.*)$`), "il faut ici des clés et leurs valeurs, et non $1"},
	{regexp.MustCompile(`^text is expected here, and this is (.*)$`), "il faut ici un texte, et non $1"},
	{regexp.MustCompile(`^one value is expected here, and this is (.*)$`), "il faut ici une seule valeur, et non $1"},
	{regexp.MustCompile(`^a list of steps is expected here, and this is a map: .*$`), "il faut ici une liste d'étapes : faites commencer chacune par -"},
	{regexp.MustCompile(`^("[^"]*") is not a duration: allowed are numbers with d, h, m, s or ms, such as (.*)$`), "$1 n'est pas une durée : écrivez des nombres suivis de d (jours), h, m, s ou ms, par exemple $2"},
	{regexp.MustCompile(`^("[^"]*") is not a rate: allowed is a number per s, m, h or d, such as (\S+) or (\S+)$`), "$1 n'est pas un débit : écrivez un nombre par s, m, h ou d, par exemple $2 ou $3"},
	{regexp.MustCompile(`^("[^"]*") is not a size: allowed are .*, such as (\S+)$`), "$1 n'est pas une taille : écrivez un nombre entier d'octets, ou suivi de kB, MB, GB, KiB, MiB ou GiB, par exemple $2"},
	{regexp.MustCompile(`^("[^"]*") is not an address to listen on: .* such as (\S+)$`), "$1 n'est pas une adresse où écouter : écrivez :PORT ou ADRESSE:PORT, par exemple $2"},
	{regexp.MustCompile(`^the file can't be read: permission denied$`), "ce fichier ne peut pas être lu : l'utilisateur qui lance relais n'en a pas le droit"},
	{regexp.MustCompile(`^postgres://user:password@host:5432/database is expected; .*$`), "il faut postgres://utilisateur:motdepasse@machine:5432/base ; sans store, c'est SQLite, dans le dossier des données"},
	{regexp.MustCompile(`^nothing says how requests are verified: give a preset with its secret, or say auth: none .*$`), "rien ne dit comment vérifier les requêtes : donnez un préréglage et son secret, ou dites auth: none pour tout accepter de tous"},
	{regexp.MustCompile(`^it has no secret yet: its provider's handshake is answered, .*$`), "elle n'a pas encore de secret : relais répond au fournisseur qui vérifie l'adresse, et refuse tout le reste ; écrivez le secret qu'il donne"},
	{regexp.MustCompile(`^user and pass belong together$`), "user et pass vont ensemble : donnez les deux, ou aucun"},
	{regexp.MustCompile(`^tls: none sends the password in clear: .*$`), "tls: none enverrait le mot de passe en clair : écrivez starttls ou tls, ou n'en donnez pas (ni user ni pass, ni EMAIL_USER ni EMAIL_PASS)"},
	{regexp.MustCompile(`^url is not an address such as (\S+)$`), "url n'est pas une adresse telle que $1"},
	{regexp.MustCompile(`^from must be an address such as (.+)$`), "from doit être une adresse telle que $1"},
	{regexp.MustCompile(`^there is no such file: relais init writes one$`), "ce fichier n'existe pas : relais init en écrit un"},
	{regexp.MustCompile(`^there is no key ("[^"]*")(.*)$`), "il n'y a pas de clé $1$2"},
	{regexp.MustCompile(`^there is no step ("[^"]*")(.*)$`), "il n'y a pas d'étape $1$2"},
	{regexp.MustCompile(`^there is no preset ("[^"]*")(.*)$`), "il n'y a pas de fournisseur $1$2"},
	{regexp.MustCompile(`^there is no (parameter|setting) ("[^"]*")(.*)$`), "il n'y a pas de paramètre $2$3"},
	{regexp.MustCompile(`^there is no connection of the kind (.+)$`), "il n'y a pas de connexion de la sorte $1"},
	{regexp.MustCompile(`^(\S+) is missing: .*\(or write (\w+) into \.env beside the file, or set it in the environment\)$`), "$1 manque : écrivez-le ici, ou $2 dans .env, à côté du fichier, ou dans l'environnement"},
	{regexp.MustCompile(`^(\S+) is missing: (.*)$`), "$1 manque : $2"},
	{regexp.MustCompile(`^the variable (\w+) is not set: write it into \.env beside the file, or set it in the environment$`), "la variable $1 n'a pas de valeur : écrivez-la dans .env, à côté du fichier, ou dans l'environnement"},
	{regexp.MustCompile(`^the variable (\w+) is not set: .*, or give it a default here: (.+)$`), "la variable $1 n'a pas de valeur : écrivez-la dans .env, à côté du fichier, ou dans l'environnement, ou donnez-lui ici une valeur par défaut : $2"},
	{regexp.MustCompile(`^it still holds the starter's placeholder: write (\w+)=.*$`), "il reste la valeur d'attente de relais init : écrivez $1=… dans .env, à côté du fichier (une ligne qui commence par # ne compte pas), ou dans l'environnement"},
	{regexp.MustCompile(`^(\S+) sends ("[^"]*") as ("[^"]*"): the route takes that$`), "$1 envoie $2 sous le nom de $3 : c'est ce que prend la route"},
	{regexp.MustCompile(`^(\S+) is not known to send ("[^"]*")(.*)$`), "$1 n'envoie pas, que l'on sache, $2$3"},
	{regexp.MustCompile(`^WEBHOOK_PORT says another port: the file's is taken$`), "WEBHOOK_PORT donne un autre port : c'est celui du fichier qui compte"},
	{regexp.MustCompile(`^it is not a port: allowed are 1 to 65535$`), "ce n'est pas un port : sont permis 1 à 65535"},
	{regexp.MustCompile(`^(.+) can't be run here: nobody would be told of dead deliveries$`), "$1 ne peut pas être lancé ici : personne ne saurait qu'une livraison est morte"},
	{regexp.MustCompile(`^the result of step ("[^"]*") has no ("[^"]*")(.*)$`), "le résultat de l'étape $1 n'a pas de $2$3"},
	{regexp.MustCompile(`^no step ("[^"]*") stands before this one(.*)$`), "aucune étape $1 ne précède celle-ci$2"},
	{regexp.MustCompile(`^event has no ("[^"]*")(.*)$`), "event n'a pas de $1$2"},
	{regexp.MustCompile(`^nothing is named ("[^"]*") here; there are (.+)$`), "rien ne s'appelle $1 ici ; il y a $2"},
	{regexp.MustCompile(`^(".*") is not allowed: allowed are (.+)$`), "$1 n'est pas permis ; sont permis : $2"},
	{regexp.MustCompile(`^the key has no value: .*$`), "la clé n'a pas de valeur : donnez-lui-en une, ou ôtez-la"},
	{regexp.MustCompile(`^the secret is empty$`), "le secret est vide"},
	{regexp.MustCompile(`^the secret is empty: (.*)$`), "le secret est vide : $1"},
	{regexp.MustCompile(`^\$\{(\w+)\} is empty: fill it in\. .*$`), "$${$1} est vide : complétez-la (docs/steps.md dit ce qu'il y faut)"},
	{regexp.MustCompile(`^\$\{(\w+)\} is empty: fill it in$`), "$${$1} est vide : complétez-la"},
	{regexp.MustCompile(`^\$\{(\w+)\} is empty, and so nothing stands in its place: .*$`), "$${$1} est vide, et rien ne se trouve à sa place : complétez-la, ou écrivez $${$1:-} si c'est voulu"},
	{regexp.MustCompile(`^\$\{(\w+)\} is empty: (.*)$`), "$${$1} est vide : $2"},
	{regexp.MustCompile(`^(\S+) \((connections\.\S+\.url)\): (.*): is the address right, does Dolibarr run\?$`), "$1 ($2) : $3 : l'adresse est-elle la bonne, Dolibarr tourne-t-il ?"},
	{regexp.MustCompile(`^(\S+|the sender) signs the address that it calls: .*$`), "$1 signe l'adresse qu'il appelle : derrière un proxy, relais ne peut pas la connaître et refuse tout ; écrivez public_url: https://…"},
	{regexp.MustCompile(`^there are several: say which with (--\w+): (.+)$`), "il y en a plusieurs : dites lequel avec $1 : $2"},
	{regexp.MustCompile(`^connection is missing: there are several of the kind (.+)$`), "connection manque : il y en a plusieurs de la sorte $1"},
	{regexp.MustCompile(`^(\S+) needs a connection of the kind (\S+): there is none under connections$`), "$1 demande une connexion de la sorte $2 : il n'y en a pas sous connections"},

	{regexp.MustCompile(`^the signature does not match the body$`), "la signature ne correspond pas au corps"},
	{regexp.MustCompile(`^it is still refused: the signature does not match the body$`), "encore refusée : la signature ne correspond pas au corps"},
	{regexp.MustCompile(`^the request carries no signature$`), "la requête ne porte pas de signature"},
	{regexp.MustCompile(`^the signature is not written as this source expects$`), "la signature n'est pas écrite comme cette source l'attend"},
	{regexp.MustCompile(`^the signed timestamp is too far from now$`), "l'heure signée est trop loin de maintenant"},
	{regexp.MustCompile(`^the request names no certificate$`), "la requête ne nomme pas de certificat"},
	{regexp.MustCompile(`^the request names a certificate at an address that this source doesn't call$`), "la requête nomme un certificat à une adresse que cette source n'appelle pas"},
	{regexp.MustCompile(`^there is no certificate at the address that the request names$`), "il n'y a pas de certificat à l'adresse que la requête nomme"},
	{regexp.MustCompile(`^the certificate that the request names is somebody else's$`), "le certificat que la requête nomme est celui de quelqu'un d'autre"},
	{regexp.MustCompile(`^the certificate that the request names is of no authority that is trusted here, or out of its time$`), "le certificat que la requête nomme n'est d'aucune autorité reconnue ici, ou n'est pas en cours de validité"},
	{regexp.MustCompile(`^the certificate that the request names has a key of another kind than this source's$`), "le certificat que la requête nomme a une clé d'un autre type que celui de cette source"},
	{regexp.MustCompile(`^what stands at the certificate's address is no certificate; send it again$`), "ce qui se trouve à l'adresse du certificat n'en est pas un ; à renvoyer"},
	{regexp.MustCompile(`^the certificate that the request names can't be had now; send it again$`), "le certificat que la requête nomme est indisponible pour le moment ; à renvoyer"},
	{regexp.MustCompile(`^too many certificates are asked for at once; send it again$`), "trop de certificats demandés à la fois ; à renvoyer"},
	{regexp.MustCompile(`^the request carries no credentials$`), "la requête ne s'identifie pas"},
	{regexp.MustCompile(`^the credentials are not valid$`), "l'identification n'est pas valable"},
	{regexp.MustCompile(`^the body is empty$`), "le corps est vide"},
	{regexp.MustCompile(`^the body is not valid JSON$`), "le corps n'est pas du JSON valable"},
	{regexp.MustCompile(`^the body is not a valid form$`), "le corps n'est pas un formulaire valable"},
	{regexp.MustCompile(`^the form lacks the field that holds the message$`), "le formulaire n'a pas le champ qui porte le message"},
	{regexp.MustCompile(`^this address may not send here$`), "cette adresse n'a pas le droit d'envoyer ici"},
	{regexp.MustCompile(`^the message and the address or the credentials name different things$`), "le message ne nomme pas la même chose que l'adresse ou que l'identification"},
	{regexp.MustCompile(`^this source sends more than its rate allows$`), "cette source envoie plus que son débit ne le permet"},
}

var asides = []struct {
	pattern *regexp.Regexp
	french  string
}{
	{regexp.MustCompile(`the database can't be reached at (\S+\d)`), "elle est injoignable ($1)"},
	{regexp.MustCompile(`the database refuses relais' user: check the user and the password in store`), "elle refuse l'utilisateur de relais : vérifiez l'utilisateur et le mot de passe dans store"},
	{regexp.MustCompile(`the database can't be reached`), "elle est injoignable"},
	{regexp.MustCompile(`the database (\S+ )?doesn't exist: create it`), "la base de données ${1}n'existe pas : créez-la"},
	{regexp.MustCompile(`the database is being stopped or started`), "elle s'arrête ou démarre"},
	{regexp.MustCompile(`relais' user lacks a right in the database: make it the database's owner`), "il manque un droit à l'utilisateur de relais : donnez-lui la base de données (OWNER)"},
	{regexp.MustCompile(`\(PostgreSQL's code (\w+)\)`), "(code $1 de PostgreSQL)"},
	{regexp.MustCompile(`; webhooks are still accepted: (\d+) wait in this node's spool$`), " ; les webhooks sont toujours acceptés : $1 en attente dans la file locale de ce nœud"},
	{regexp.MustCompile(`[:;] did you mean ("[^"]*"|\S+)\?`), " ; vouliez-vous dire $1 ?"},
	{regexp.MustCompile(`; there are: `), " ; il y a : "},
	{regexp.MustCompile(`, nor any other$`), ", ni aucune autre"},
	{regexp.MustCompile(`\(allowed: `), "(sont permis : "},
	{regexp.MustCompile(`the connection was refused or the host can't be reached`), "connexion refusée, ou machine injoignable"},
	{regexp.MustCompile(`the name (\S+) could not be resolved`), "le nom $1 n'a pas d'adresse"},
	{regexp.MustCompile(`no complete answer in time`), "pas de réponse à temps"},
	{regexp.MustCompile(`TLS failed: `), "TLS a échoué : "},
	{regexp.MustCompile(`fill in what the provider signs with, its secret or its public key$`), "mettez ce avec quoi le fournisseur signe, son secret ou sa clé publique"},
	{regexp.MustCompile(`(\S+) signs its requests; give the secret, or say auth: none to take anything from anyone$`), "$1 signe ses requêtes ; donnez le secret, ou dites auth: none pour tout accepter de tous"},
	{regexp.MustCompile(`it is a part of what is signed; fill it in as the provider's settings show it, `), "cela fait partie de ce qui est signé ; complétez, tel que l'affichent les réglages du fournisseur, "},
	{regexp.MustCompile(`(".*") is not a public URL: allowed is .*$`), "$1 n'est pas une adresse publique : écrivez http:// ou https:// et la machine, par exemple https://hooks.example.fr"},
	{regexp.MustCompile(`it must be an address such as (\S+), without a query or a password$`), "il faut une adresse telle que $1, sans paramètres ni mot de passe"},
	{regexp.MustCompile(`"" is not a mail address$`), "\"\" n'est pas une adresse de courriel"},
	{regexp.MustCompile(`it must begin with http:// or https:// and the host, written in the file: .*$`), "l'adresse commence par http:// ou https:// et la machine, écrites dans le fichier : pas de $${{ }} avant le chemin"},
	{regexp.MustCompile(`fill it in, or leave the key out$`), "complétez-la, ou ôtez la clé"},
	{regexp.MustCompile(`a tab stands here: indent with spaces$`), "une tabulation se trouve ici : indentez avec des espaces"},
	{regexp.MustCompile(`'(\S+)' or '(\S+)' is missing here: quote a text .*$`), "il manque ici « $1 » ou « $2 » : mettez entre guillemets un texte qui contient { } [ ] , : ou une apostrophe"},
	{regexp.MustCompile(`a second ": " on the line, .*$`), "un deuxième « : » sur la ligne, ou une ligne trop en retrait : mettez la valeur entre guillemets, ou alignez la ligne sur ses voisines"},
	{regexp.MustCompile(`nothing can stand here: indent as .*$`), "rien ne peut se trouver ici : alignez la ligne sur ses voisines, et cherchez une accolade ou un crochet de trop"},
	{regexp.MustCompile(`a colon and a space stand behind a key: key: value$`), "une clé est suivie de deux-points et d'une espace : clé: valeur"},
	{regexp.MustCompile(`the quote (\S) that ends the text is missing$`), "il manque le guillemet $1 qui ferme le texte"},
	{regexp.MustCompile(`('\S') is a reserved character: quote the value$`), "$1 est réservé à YAML : mettez la valeur entre guillemets"},
	{regexp.MustCompile(`and is written &&$`), "« et » s'écrit &&"},
	{regexp.MustCompile(`or is written \|\|$`), "« ou » s'écrit ||"},
	{regexp.MustCompile(`equality is written ==$`), "l'égalité s'écrit =="},
	{regexp.MustCompile(`it ends too early$`), "elle finit trop tôt"},
	{regexp.MustCompile(`et non a list$`), "et non une liste"},
	{regexp.MustCompile(`et non a map$`), "et non des clés"},
	{regexp.MustCompile(`et non text$`), "et non un texte"},
	{regexp.MustCompile(`et non a number$`), "et non un nombre"},
	{regexp.MustCompile(`et non empty$`), "et non rien"},
	{regexp.MustCompile(`\(it has `), "(il y a : "},
	{regexp.MustCompile(`\(before it: `), "(avant elle : "},
	{regexp.MustCompile(`\(no step stands before\)`), "(aucune ne la précède)"},
	{regexp.MustCompile(`\(event\.data is the body\)`), "(event.data est le corps)"},
}

// answer says in the language of the run what another package said in English, where it is known.
func (l language) answer(text string) string {
	if l == english {
		return text
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = frenchAnswer(line)
	}
	return strings.Join(lines, "\n")
}

func frenchAnswer(line string) string {
	for _, a := range answers {
		if !a.pattern.MatchString(line) {
			continue
		}
		line = a.pattern.ReplaceAllString(line, a.french)
		for _, aside := range asides {
			line = aside.pattern.ReplaceAllString(line, aside.french)
		}
		return line
	}
	return line
}
