package org.isplit.edge

/** A text is not JSON. */
class JsonException(message: String) : Exception(message)

/**
 * Reads JSON: objects become maps, lists lists, whole numbers Long where they fit, all other numbers Double.
 *
 * Android's own org.json takes texts that are no JSON, and makes a text of a bare NaN; TensorFlow Serving writes NaN so.
 *
 * @param allowNaN whether NaN, Infinity and -Infinity, bare, are numbers; a manifest must not hold them.
 * @throws JsonException if the text is not JSON, or an object has a key twice.
 */
fun parseJson(text: String, allowNaN: Boolean = false): Any? = JsonReader(text, allowNaN).document()

/** Writes a value as JSON: maps, lists, texts, numbers, truth values and null; NaN and infinities are refused. */
fun jsonText(value: Any?): String = when (value) {
    null, is Boolean, is Int, is Long -> value.toString()
    is Double -> if (value.isNaN() || value.isInfinite()) throw JsonException("$value is no JSON") else value.toString()
    is String -> quoted(value)
    is Map<*, *> -> value.entries.joinToString(", ", "{", "}") { "${quoted(it.key.toString())}: ${jsonText(it.value)}" }
    is List<*> -> value.joinToString(", ", "[", "]") { jsonText(it) }
    else -> throw JsonException("${value.javaClass.name} is no JSON")
}

private fun quoted(text: String): String = text.map {
    if (it == '"' || it == '\\') "\\$it" else if (it < ' ' || it > '~') "\\u%04x".format(it - '\u0000') else it.toString()
}.joinToString("", "\"", "\"")

private class JsonReader(private val text: String, private val allowNaN: Boolean) {
    private var place = 0

    fun document(): Any? {
        val value = value(0)
        skipBlanks()
        if (place != text.length) fail("the end")
        return value
    }

    private fun value(depth: Int): Any? {
        if (depth > MAX_DEPTH) throw JsonException("more than $MAX_DEPTH levels")
        skipBlanks()
        return when (peek()) {
            '{' -> objectValue(depth)
            '[' -> list(depth)
            '"' -> string()
            else -> word()
        }
    }

    private fun objectValue(depth: Int): Map<String, Any?> {
        val found = LinkedHashMap<String, Any?>()
        take('{')
        skipBlanks()
        if (peek() == '}') return found.also { take('}') }
        while (true) {
            skipBlanks()
            val key = string()
            skipBlanks()
            take(':')
            if (key in found) throw JsonException("the key \"$key\" twice")
            found[key] = value(depth + 1)
            skipBlanks()
            if (peek() == '}') return found.also { take('}') }
            take(',')
        }
    }

    private fun list(depth: Int): List<Any?> {
        val found = ArrayList<Any?>()
        take('[')
        skipBlanks()
        if (peek() == ']') return found.also { take(']') }
        while (true) {
            found.add(value(depth + 1))
            skipBlanks()
            if (peek() == ']') return found.also { take(']') }
            take(',')
        }
    }

    private fun string(): String {
        take('"')
        val found = StringBuilder()
        while (true) {
            val letter = next()
            when {
                letter == '"' -> return found.toString()
                letter == '\\' -> found.append(escaped())
                letter < ' ' -> fail("no control character in a text")
                else -> found.append(letter)
            }
        }
    }

    private fun escaped(): Char {
        val letter = next()
        val index = ESCAPES.indexOf(letter)
        if (index >= 0) return ESCAPED[index]
        if (letter != 'u' || place + 4 > text.length) fail("an escape")
        val digits = text.substring(place, place + 4)
        if (!digits.all { it in '0'..'9' || it in 'a'..'f' || it in 'A'..'F' }) fail("four hexadecimal digits")
        place += 4
        return digits.toInt(16).toChar()
    }

    private fun word(): Any? {
        val start = place
        while (place < text.length && (text[place].isLetterOrDigit() || text[place] in "+-.")) place += 1
        val word = text.substring(start, place)
        return when {
            word == "null" -> null
            word == "true" -> true
            word == "false" -> false
            allowNaN && word == "NaN" -> Double.NaN
            allowNaN && word == "Infinity" -> Double.POSITIVE_INFINITY
            allowNaN && word == "-Infinity" -> Double.NEGATIVE_INFINITY
            INTEGER.matches(word) -> word.toLongOrNull() ?: word.toDouble()
            NUMBER.matches(word) -> word.toDouble()
            else -> {
                place = start
                fail("a value")
            }
        }
    }

    private fun skipBlanks() {
        while (place < text.length && text[place] in " \t\r\n") place += 1
    }

    private fun peek(): Char = if (place < text.length) text[place] else fail("more")

    private fun next(): Char = peek().also { place += 1 }

    private fun take(letter: Char) {
        if (peek() != letter) fail("'$letter'")
        place += 1
    }

    private fun fail(expected: String): Nothing {
        val found = text.substring(minOf(place, text.length), minOf(place + 20, text.length))
        throw JsonException("expected $expected at character $place, found \"$found\"")
    }

    private companion object {
        const val MAX_DEPTH = 100
        const val ESCAPES = "\"\\/bfnrt"
        const val ESCAPED = "\"\\/\b\u000c\n\r\t"
        val INTEGER = Regex("-?(0|[1-9][0-9]*)")
        val NUMBER = Regex("-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][+-]?[0-9]+)?")
    }
}
