"""What currencies, units and magnitudes are called: tables for `amounts`.

A unit whose letters are also English words or plurals ("in", "s", "a") stands only where no such
reading is likely; see the patterns in `amounts`.
"""

from __future__ import annotations

# Sign or code -> one, several, a hundredth, several of those.
COIN = ("cent", "cents")
CURRENCIES = {
    "$": ("dollar", "dollars", *COIN),
    "£": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", *COIN),
    "¥": ("yen", "yen", "sen", "sen"),
    "₹": ("rupee", "rupees", "paisa", "paise"),
    "₩": ("won", "won", "jeon", "jeon"),
    "₽": ("ruble", "rubles", "kopeck", "kopecks"),
    "₺": ("lira", "lira", "kurus", "kurus"),
    "₴": ("hryvnia", "hryvnias", "kopeck", "kopecks"),
    "₪": ("shekel", "shekels", "agora", "agorot"),
    "₫": ("dong", "dong", "xu", "xu"),
    "฿": ("baht", "baht", "satang", "satang"),
    "₿": ("bitcoin", "bitcoins", *COIN),
    "CHF": ("Swiss franc", "Swiss francs", "centime", "centimes"),
}
CODES = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "INR": "₹", "Rs": "₹", "CHF": "CHF"}
NATIONS = {
    **{"US": "U.S.", "A": "Australian", "AU": "Australian", "C": "Canadian", "CA": "Canadian"},
    **{"NZ": "New Zealand", "HK": "Hong Kong", "S": "Singapore"},
}
MAGNITUDES = {
    **{"k": "thousand", "K": "thousand", "m": "million", "M": "million", "mn": "million"},
    **{"mm": "million", "mil": "million", "b": "billion", "B": "billion", "bn": "billion"},
    **{"Bn": "billion", "tn": "trillion", "T": "trillion", "t": "trillion"},
    **{name: name for name in ("hundred", "thousand", "million", "billion", "trillion")},
}
COUNTED = {name: MAGNITUDES[name] for name in ("k", "m", "M", "mn", "bn", "Bn", "tn")}
LENGTHS = "tall|long|wide|high|deep|thick|apart|away|sprint|dash|race|freestyle|hurdles|relay"

# Unit -> one; several of them take an s.
_REGULAR_UNITS = {
    **{"km": "kilometer", "cm": "centimeter", "mm": "millimeter", "nm": "nanometer"},
    **{"µm": "micrometer", "μm": "micrometer", "kg": "kilogram", "mg": "milligram"},
    **{"mcg": "microgram", "µg": "microgram", "μg": "microgram", "g": "gram", "lb": "pound"},
    **{"oz": "ounce", "mi": "mile", "yd": "yard", "ml": "milliliter", "mL": "milliliter"},
    **{"cl": "centiliter", "dl": "deciliter", "l": "liter", "L": "liter"},
    **{"KB": "kilobyte", "kB": "kilobyte", "MB": "megabyte", "GB": "gigabyte", "TB": "terabyte"},
    **{"PB": "petabyte", "KiB": "kibibyte", "MiB": "mebibyte", "GiB": "gibibyte"},
    **{"hr": "hour", "h": "hour", "min": "minute", "sec": "second", "s": "second"},
    **{"ms": "millisecond", "µs": "microsecond", "μs": "microsecond", "ns": "nanosecond"},
    **{"yr": "year", "wk": "week", "W": "watt", "kW": "kilowatt", "MW": "megawatt"},
    **{"GW": "gigawatt", "kWh": "kilowatt hour", "V": "volt", "mV": "millivolt", "kV": "kilovolt"},
    **{"mA": "milliamp", "mAh": "milliamp hour", "dB": "decibel", "kcal": "kilocalorie"},
    **{"kJ": "kilojoule", "px": "pixel", "ha": "hectare", "m": "meter", "t": "ton"},
    **{"cc": "cubic centimeter", "cal": "calorie"},
}
# Unit -> one, several.
_OTHER_UNITS = {
    **{"ft": ("foot", "feet"), "in": ("inch", "inches"), "lbs": ("pound", "pounds")},
    **{"Hz": ("hertz",) * 2, "kHz": ("kilohertz",) * 2, "MHz": ("megahertz",) * 2},
    **{"GHz": ("gigahertz",) * 2, "mph": ("mile per hour", "miles per hour")},
    **{
        "kph": ("kilometer per hour", "kilometers per hour"),
        "km/h": ("kilometer per hour", "kilometers per hour"),
    },
    **{
        "kmh": ("kilometer per hour", "kilometers per hour"),
        "m/s": ("meter per second", "meters per second"),
    },
    **{"rpm": ("R P M",) * 2, "fps": ("frame per second", "frames per second")},
    **{
        "kbps": ("kilobit per second", "kilobits per second"),
        "Mbps": ("megabit per second", "megabits per second"),
    },
    **{"Gbps": ("gigabit per second", "gigabits per second"), "hp": ("horsepower",) * 2},
    **{"hrs": ("hour", "hours"), "mins": ("minute", "minutes"), "secs": ("second", "seconds")},
    **{"yrs": ("year", "years"), "wks": ("week", "weeks"), "pct": ("percent",) * 2},
    **{"%": ("percent",) * 2, "‰": ("per mille",) * 2, "°": ("degree", "degrees")},
    **{
        "°C": ("degree Celsius", "degrees Celsius"),
        "°F": ("degree Fahrenheit", "degrees Fahrenheit"),
    },
    **{
        "bpm": ("beat per minute", "beats per minute"),
        "psi": ("P S I",) * 2,
        "sq ft": ("square foot", "square feet"),
    },
    **{"sq mi": ("square mile", "square miles"), "sq m": ("square meter", "square meters")},
    **{"¢": COIN, "dpi": ("dot per inch", "dots per inch")},
}
UNITS = {short: (name, f"{name}s") for short, name in _REGULAR_UNITS.items()} | _OTHER_UNITS
