//! A small dictionary, and how much of a string it explains.
//!
//! The scan judges strings by letter pairs; this is the other way of asking whether people made a string.

/// The share of the letters of `text` that can be cut into dictionary words of at least three letters, 0 to 1. Digits and punctuation
/// between words do not count. 0 for a string without letters.
pub(crate) fn share_of_words(text: &[u8]) -> f32 {
    let letters: Vec<u8> = text.iter().filter(|b| b.is_ascii_alphabetic()).map(u8::to_ascii_lowercase).collect();
    if letters.is_empty() {
        return 0.0;
    }
    // best[i]: most letters explained among the first i.
    let mut best = vec![0usize; letters.len() + 1];
    for end in 1..=letters.len() {
        best[end] = best[end - 1];
        for length in 3..=end.min(14) {
            let word = &letters[end - length..end];
            if DICTIONARY.binary_search_by(|known| known.as_bytes().cmp(word)).is_ok() {
                best[end] = best[end].max(best[end - length] + length);
            }
        }
    }
    best[letters.len()] as f32 / letters.len() as f32
}

/// Words of passwords, names and documentation, sorted.
#[rustfmt::skip]
const DICTIONARY: &[&str] = &[
    "abc", "about", "above", "account", "action", "active", "admin", "administrator", "after", "again", "agent", "alert", "alice", "all", "alpha",
    "always", "amazon", "and", "angel", "animal", "anonymous", "another", "answer", "any", "apple", "application", "april", "archive", "are", "asset",
    "august", "author", "autumn", "azure", "backup", "banana", "banker", "bar", "basic", "battery", "baz", "beach", "bear", "beta", "better", "bird",
    "black", "blank", "blue", "bob", "boston", "bottle", "box", "branch", "bread", "bridge", "bright", "broker", "brother", "brown", "browser",
    "bucket", "build", "bundle", "button", "cache", "call", "camera", "can", "cat", "chain", "change", "changeme", "channel", "charge", "charlie",
    "check", "cheese", "child", "china", "chrome", "circle", "city", "class", "clear", "client", "clock", "cloud", "cluster", "code", "coffee",
    "color", "comment", "common", "community", "company", "complex", "computer", "config", "connect", "console", "consumer", "contact", "container",
    "content", "context", "control", "cookie", "cool", "copy", "correct", "country", "create", "credential", "cross", "crypto", "custom", "daemon",
    "daily", "dark", "data", "database", "date", "deal", "debug", "december", "default", "delete", "delta", "demo", "deploy", "desk", "detail", "dev",
    "develop", "developer", "device", "diamond", "different", "digital", "direct", "directory", "disable", "disk", "django", "docker", "document",
    "dog", "domain", "done", "door", "double", "down", "download", "dragon", "dream", "driver", "dummy", "earth", "east", "easy", "eggs", "elephant",
    "email", "empty", "enable", "encrypt", "end", "engine", "english", "enough", "enter", "enterprise", "entry", "error", "even", "event", "every",
    "example", "exchange", "existing", "export", "external", "extra", "face", "factory", "fake", "false", "family", "fast", "father", "file", "final",
    "fire", "first", "fish", "flag", "flower", "foo", "foobar", "football", "for", "force", "forest", "form", "forward", "fox", "france", "free",
    "freedom", "friday", "friend", "from", "front", "full", "function", "future", "galaxy", "game", "garden", "gate", "gateway", "general", "germany",
    "get", "ghost", "gift", "github", "give", "global", "gold", "good", "google", "grand", "graph", "great", "green", "group", "guest", "guide",
    "hand", "happy", "hard", "hardcoded", "has", "hash", "hat", "head", "heart", "heaven", "hello", "help", "her", "hidden", "high", "him", "his",
    "history", "hockey", "home", "honey", "hope", "horse", "host", "hotel", "hour", "house", "how", "human", "hunter", "iloveyou", "image", "import",
    "index", "info", "initial", "input", "inside", "install", "instance", "internal", "internet", "invalid", "island", "item", "its", "january",
    "java", "jenkins", "john", "join", "july", "june", "just", "keep", "kernel", "key", "keyboard", "king", "kitty", "label", "lake", "language",
    "laptop", "large", "last", "later", "launch", "layer", "learn", "left", "legacy", "letmein", "letter", "level", "library", "license", "light",
    "like", "line", "linux", "list", "little", "live", "load", "local", "location", "lock", "log", "login", "long", "love", "lucky", "machine",
    "magic", "mail", "main", "make", "manage", "manager", "march", "mark", "market", "master", "match", "matrix", "matter", "maximum", "may", "maybe",
    "media", "member", "memory", "message", "metadata", "method", "michael", "micro", "middle", "minimum", "mirror", "missing", "mobile", "mode",
    "model", "module", "monday", "money", "monitor", "monkey", "month", "moon", "morning", "mother", "mountain", "move", "movie", "music", "name",
    "nature", "network", "never", "new", "next", "night", "node", "none", "normal", "north", "not", "nothing", "notice", "notsecure", "november",
    "now", "number", "object", "ocean", "october", "offer", "office", "old", "online", "open", "operator", "option", "orange", "order", "origin",
    "other", "our", "out", "output", "own", "owner", "package", "page", "paper", "parent", "park", "partner", "party", "pass", "passphrase", "passwd",
    "password", "path", "pattern", "payment", "peace", "people", "per", "perfect", "person", "phone", "photo", "picture", "pirate", "pizza", "place",
    "placeholder", "plain", "plaintext", "planet", "play", "please", "point", "policy", "port", "portal", "power", "premium", "present", "pretty",
    "primary", "print", "private", "process", "prod", "product", "production", "profile", "program", "project", "protect", "provider", "proxy",
    "public", "purple", "put", "pwd", "pygmalion", "python", "quality", "queen", "query", "question", "queue", "quick", "qux", "qwerty", "rabbit",
    "radio", "rain", "random", "read", "ready", "real", "record", "red", "region", "register", "release", "remote", "remove", "report", "request",
    "reset", "resource", "response", "rest", "result", "return", "right", "river", "road", "robot", "rock", "role", "room", "root", "rose", "route",
    "router", "rule", "run", "runner", "safe", "salt", "sample", "sandbox", "saturday", "save", "saw", "say", "scanner", "schedule", "school",
    "scope", "screen", "script", "search", "season", "second", "secret", "section", "secure", "security", "see", "select", "seller", "send",
    "sensitive", "september", "server", "service", "sesame", "session", "set", "setting", "shadow", "share", "she", "shell", "ship", "shop", "short",
    "show", "signature", "silver", "simple", "single", "sir", "sit", "site", "six", "size", "sky", "small", "smart", "smile", "snow", "social",
    "some", "something", "source", "south", "space", "spam", "special", "spring", "src", "staff", "stage", "staging", "standard", "star", "start",
    "state", "static", "station", "status", "stone", "stop", "storage", "store", "storm", "strange", "stream", "street", "string", "strong",
    "student", "style", "success", "sugar", "summer", "sun", "sunday", "sunshine", "super", "support", "sure", "switch", "symbol", "system", "table",
    "target", "task", "team", "television", "temp", "template", "temporary", "ten", "terminal", "test", "tester", "text", "thank", "that", "the",
    "their", "theme", "there", "thing", "third", "this", "thunder", "thursday", "ticket", "tiger", "time", "title", "tmp", "today", "together",
    "token", "tomorrow", "ton", "tool", "toor", "top", "total", "tower", "track", "trade", "traffic", "train", "transfer", "travel", "tree", "trial",
    "trust", "truth", "try", "tuesday", "turn", "two", "type", "ubuntu", "under", "union", "unit", "universe", "update", "upload", "upper", "use",
    "user", "username", "usr", "valid", "value", "vault", "vector", "version", "very", "via", "video", "view", "village", "violet", "virtual",
    "visible", "vision", "voice", "volume", "wait", "walk", "wall", "war", "was", "watch", "water", "way", "weather", "web", "website", "wednesday",
    "week", "welcome", "were", "west", "what", "white", "who", "why", "wild", "win", "window", "windows", "winter", "wish", "with", "wizard", "wolf",
    "won", "wonder", "word", "work", "worker", "world", "worry", "write", "wrong", "yellow", "yes", "yesterday", "yet", "you", "young", "your",
    "zebra", "zero", "zone",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dictionary_is_sorted() {
        assert!(DICTIONARY.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn words_are_explained_and_random_text_is_not() {
        assert!(share_of_words(b"horse-battery-7") > 0.9);
        assert!(share_of_words(b"CorrectHorseBattery") > 0.9);
        assert!(share_of_words(b"q7ZxKp2mVt9LwRb4Ns8D") < 0.3);
        assert_eq!(share_of_words(b"1234"), 0.0);
    }
}
