/// Text from a file, made fit for a message: in single quotes, control characters escaped, and cut
/// after 100 characters.
package func quoted(_ text: some StringProtocol) -> String {
  var result = "'"
  var length = 0
  for scalar in text.unicodeScalars {
    guard length < 100 else {
      result += "…"
      break
    }
    if scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value) {
      result += "\\u{" + String(scalar.value, radix: 16) + "}"
    } else {
      result.unicodeScalars.append(scalar)
    }
    length += 1
  }
  return result + "'"
}
