/// Puts a prompt where a template says `{prompt}`: for a guide that decodes and for one that
/// trains.
package enum PromptTemplate {
  private static let mark = Array("{prompt}".utf8)

  /// Every `{prompt}` in `template` replaced; without one the template is a prompt of its own; nil
  /// is the bare prompt.
  package static func fill(_ template: [UInt8]?, prompt: [UInt8]) -> [UInt8] {
    guard let template else { return prompt }
    var text: [UInt8] = []
    text.reserveCapacity(template.count + prompt.count)
    var index = 0
    while index < template.count {
      if template[index] == mark[0], template[index...].starts(with: mark) {
        text += prompt
        index += mark.count
      } else {
        text.append(template[index])
        index += 1
      }
    }
    return text
  }
}
