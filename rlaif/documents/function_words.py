"""Words of a question that say nothing of what it asks for: articles, pronouns, prepositions and auxiliaries.

Prose is full of them and tables are not, so that a question in prose would find prose, whatever it is about. The lists
follow those of the Snowball project, shortened; each leaves out what has a meaning in English, such as German "die" and
French "plus", because the language of a question is not known.

Invariant: words are folded as `search_words` does: small letters, no accents.
"""

_ENGLISH = """
a about above after again against all also am an and any are as at be because been before being below between both but
by can could did do does doing down during each few for from further had has have having he her here hers him his how i
if in into is it its itself just me more most my no nor not now of off on once only or other our ours out over own same
she should so some such than that the their theirs them then there these they this those through to too under until up
us very was we were what when where which while who whom whose why will with would you your yours
"""
_GERMAN = """
aber alle als am auch auf aus bei beim bis da dann das dass dem den denn der des dessen dies diese dieser dieses doch
dort du durch ein eine einem einen einer eines er es fur gegen gibt habe haben hatte hatten ich ihr ihre ihrem ihren im
ist ja jede jeder jedes kann kein keine konnen mehr mit nach nicht noch nur ob oder ohne sehr sei sein seine seit sich
sie sind soll uber um und uns unter viel vom von vor wann warum weil welche welchem welchen welcher welches wenn wer
werden wie wieviel wird wir wo wurde wurden zu zum zur zwischen
"""
_FRENCH = """
au aux avec ce ces cette chez comme comment dans de depuis des du elle elles en entre est et etaient etait ete etre eux
fait il ils je la le les leur leurs lors lui mais meme ne nos notre nous ont ou par pas pourquoi quand que quel quelle
quelles quels qui quoi sans sera ses si sont sous sur ta te tu un une vos votre vous
"""
_SPANISH = """
al ante asi aunque cada como cual cuales cuando cuanta cuantas cuanto cuantos de del desde donde el ella ellas ellos en
entre era eran es esa ese eso esta estaba estan estas este esto estos fue fueron ha habia han hasta hay la las lo los
mas mi muy ni nos o otra otro para pero por porque que quien se segun ser si sus tambien tiene tienen tu un una unas uno
unos y ya
"""
_ITALIAN = """
agli ai al alla alle anche che chi ci con cosa cui da dagli dai dal dalla dalle degli dei del della delle di e ed era
erano fra gli ha hanno il io la le lei li lo loro ma ne negli nei nel nella nelle noi non o perche piu qual quale quali
quando quanta quante quanti quanto questa queste questi questo se si sono stata stati stato su sua sugli sui sul sulla
sulle suo tra un una uno
"""
_PORTUGUESE = """
ao aos aquela aquele as ate com como da das de dela dele depois do dos e ela elas ele eles em entre era eram essa esse
esta este eu foi foram ha isso isto ja la lhe mais mas na nas nao nem no nos o os ou para pela pelas pelo pelos por
porque qual quais quando quanto quantos que quem se sem ser seu seus sua suas tambem tem teve um uma umas uns voce
"""
_DUTCH = """
aan al alle als bij dan dat de deze die dit door een en er geen haar had hebben heeft het hij hoe hoeveel hun ik in is
ja je kan kunnen maar met mijn naar niet nog nu of om ook op over sinds te tegen tot tussen uit van veel voor waar
waarom wanneer wat welk welke werd werden wie wij worden wordt zal ze zich zij zijn zo zou
"""
_MEANT_IN_ENGLISH = {"die", "du", "fait", "fine", "had", "hat", "hay", "man", "me", "mi", "par", "pas", "per", "ser",
                     "sous", "ten", "van", "war"}  # fmt: skip

FUNCTION_WORDS = frozenset(f"{_ENGLISH} {_GERMAN} {_FRENCH} {_SPANISH} {_ITALIAN} {_PORTUGUESE} {_DUTCH}".split()) - (
    _MEANT_IN_ENGLISH - frozenset(_ENGLISH.split())
)
