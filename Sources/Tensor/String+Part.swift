extension String {
  /// Whether `part` occurs in this text, byte by byte. (The search that Swift has brings the engine of its regular
  /// expressions along.)
  package func has(part: String) -> Bool {
    let (text, part) = (Array(utf8), Array(part.utf8))
    return text.indices.contains { text[$0...].starts(with: part) }
  }
}
