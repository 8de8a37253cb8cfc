"""Short sentences in seven languages that say a digit, or do not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Language:
    """Ten number words, sentences with a place for one, and sentences that name no number."""

    digits: tuple[str, ...]
    naming: tuple[str, ...]
    silent: tuple[str, ...]


LANGUAGES = {
    "en": Language(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
        (
            "The answer is {}.",
            "I can see a {} here.",
            "She wrote the number {}.",
            "Please press {} now.",
            "It looks like a {} to me.",
        ),
        (
            "The answer is hard to read.",
            "I can see a digit here.",
            "She wrote the number quickly.",
            "Please look at the page now.",
            "It looks like ink to me.",
        ),
    ),
    "zh": Language(
        ("零", "一", "二", "三", "四", "五", "六", "七", "八", "九"),
        (
            "答案是{}。",
            "这里写着{}。",
            "我看到数字{}。",
            "请按{}号键。",
            "老师说这是{}。",
        ),
        (
            "答案看不清楚。",
            "这里写着数字。",
            "我看到老师的字。",
            "请看这张纸。",
            "老师说写得很好。",
        ),
    ),
    "es": Language(
        ("cero", "uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve"),
        (
            "La respuesta es {}.",
            "Aquí veo el número {}.",
            "Ella escribió un {}.",
            "Por favor, pulsa el {}.",
        ),
        (
            "La respuesta no se lee bien.",
            "Aquí veo el número borroso.",
            "Ella escribió muy deprisa.",
            "Por favor, mira la hoja.",
        ),
    ),
    "de": Language(
        ("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"),
        (
            "Die Antwort ist {}.",
            "Hier steht die Zahl {}.",
            "Sie schrieb eine {} auf.",
            "Bitte drücken Sie die {}.",
        ),
        (
            "Die Antwort ist schwer zu lesen.",
            "Hier steht die Zahl undeutlich.",
            "Sie schrieb sehr schnell.",
            "Bitte schauen Sie auf das Blatt.",
        ),
    ),
    "fr": Language(
        ("zéro", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf"),
        (
            "La réponse est {}.",
            "Je vois ici le chiffre {}.",
            "Elle a écrit le {}.",
            "Appuyez sur le {}, merci.",
        ),
        (
            "La réponse est difficile à lire.",
            "Je vois ici le chiffre effacé.",
            "Elle a écrit trop vite.",
            "Regardez la feuille, merci.",
        ),
    ),
    "ja": Language(
        ("零", "一", "二", "三", "四", "五", "六", "七", "八", "九"),
        (
            "答えは{}です。",
            "ここに数字の{}があります。",
            "彼女は{}と書きました。",
            "{}を押してください。",
        ),
        (
            "答えは読めません。",
            "ここに数字があります。",
            "彼女は急いで書きました。",
            "紙を見てください。",
        ),
    ),
    "ru": Language(
        ("ноль", "один", "два", "три", "четыре", "пять", "шесть", "семь", "восемь", "девять"),
        (
            "Правильный ответ: {}.",
            "Здесь написано число {}.",
            "Она сказала: это {}.",
            "Нажмите, пожалуйста, {}.",
        ),
        (
            "Правильный ответ не виден.",
            "Здесь написано число.",
            "Она сказала, что не знает.",
            "Посмотрите, пожалуйста, сюда.",
        ),
    ),
}


def choose_language(rng: np.random.Generator) -> str:
    """Draws a language, each as often."""
    return str(rng.choice(list(LANGUAGES)))


def naming_sentences(language: str, digit: int) -> list[str]:
    """All sentences of a language that say ``digit``."""
    words = LANGUAGES[language]
    return [sentence.format(words.digits[digit]) for sentence in words.naming]


def naming_sentence(language: str, digit: int, rng: np.random.Generator) -> str:
    """Draws a sentence that says ``digit``."""
    words = LANGUAGES[language]
    return str(rng.choice(words.naming)).format(words.digits[digit])


def silent_sentence(language: str, rng: np.random.Generator) -> str:
    """Draws a sentence that says no digit."""
    return str(rng.choice(LANGUAGES[language].silent))
