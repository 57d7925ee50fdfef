package demo

import (
	"fmt"
	"io"
)

// text is a sentence in both languages.
type text struct{ en, fr string }

var (
	sIntro = text{
		"relais demo: nothing here leaves this machine. Everything is in %s and goes when it ends.",
		"relais demo : rien ne sort de cette machine. Tout est dans %s et disparaît à la fin."}
	sSandbox = text{
		"A sandbox of Sellsy runs at %s, as strict as Sellsy's own document.",
		"Un bac à sable Sellsy tourne sur %s, aussi strict que la documentation de Sellsy."}
	sReady = text{
		"relais was ready after %d ms and listens on http://%s.",
		"relais a été prêt en %d ms et écoute sur http://%s."}
	sAccepted = text{
		"A customer accepts quote %d. Sellsy sends the quote along.",
		"Un client accepte le devis %d. Sellsy envoie le devis avec l'appel."}
	sAcceptedBare = text{
		"A customer accepts quote %d. Sellsy, as it does by default, only says that a status changed.",
		"Un client accepte le devis %d. Sellsy, comme il le fait par défaut, dit seulement qu'un statut a changé."}
	sRepeat = text{
		"Sellsy sends the first webhook again, to the byte (quote %d).",
		"Sellsy renvoie le premier appel, à l'octet près (devis %d)."}
	sAgain = text{
		"Quote %d changes its status once more: another webhook for the same quote.",
		"Le devis %d change encore de statut : un autre appel pour le même devis."}
	sRefused = text{
		"A customer refuses quote %d.",
		"Un client refuse le devis %d."}
	sForged = text{
		"Somebody forges a webhook about quote %d: the signature is wrong.",
		"Quelqu'un contrefait un appel pour le devis %d : la signature est fausse."}
	sCount = text{"What Sellsy holds in the end.", "Ce que Sellsy contient à la fin."}

	sAnswered = text{
		"answered %d in %s, after the event was synced to disk",
		"réponse %d en %s, l'événement une fois écrit sur le disque"}
	sRefusedBy = text{"answered %d in %s", "réponse %d en %s"}
	sInvoice   = text{
		"invoice %s created: %v %s, %d rows, %s after the webhook arrived",
		"facture %s créée : %v %s, %d lignes, %s après l'arrivée de l'appel"}
	sRecognised = text{
		"recognised as a repeat of %s: nothing to do",
		"reconnu comme répétition de %s : rien à faire"}
	sSameInvoice = text{
		"invoice %s is there already: no second one",
		"la facture %s existe déjà : pas de deuxième"}
	sSkipped   = text{"skipped: %s", "sans suite : %s"}
	sNotStored = text{
		"refused, and kept for the audit: see relais rejections",
		"refusé, et gardé pour contrôle : voir relais rejections"}
	sOneEach = text{
		"%d invoices for two accepted quotes and one refused: one each, as it should be. Slowest answer: %s.",
		"%d factures pour deux devis acceptés et un refusé : une chacun, comme il se doit. Réponse la plus lente : %s."}
	sTry = text{
		"relais stays up. In another terminal, try:",
		"relais reste en marche. Dans un autre terminal, essayez :"}
	sStop = text{"Ctrl-C ends it.", "Ctrl-C pour arrêter."}
	sBye  = text{"\nBye.", "\nAu revoir."}
)

// narrator tells the story in one language.
type narrator struct {
	out    io.Writer
	french bool
}

func (n narrator) in(t text) string {
	if n.french {
		return t.fr
	}
	return t.en
}

func (n narrator) line(t text, args ...any) {
	n.print("  "+n.in(t)+"\n", args...)
}

// scene announces what comes next; estimate is 0 where the sentence names none.
func (n narrator) scene(t text, estimate int64) {
	args := []any{estimate}
	if estimate == 0 {
		args = nil
	}
	n.print("\n"+n.in(t)+"\n", args...)
}

// print writes for a person; a terminal that went away is nobody to tell.
func (n narrator) print(format string, args ...any) { _, _ = fmt.Fprintf(n.out, format, args...) }
