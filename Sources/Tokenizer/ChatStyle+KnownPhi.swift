/// Microsoft's Phi 3 and 4.
extension ChatStyle {
  /// Phi 3 mini, first: the user's turn ends with the beginning of the answer; system messages are
  /// dropped.
  static let phi3 = phi3(sources: [phi3Source], opening: "\u{1}")

  /// Phi 3 medium, first: the same without BOS.
  static let phi3Medium = phi3(sources: [phi3MediumSource], opening: "")

  /// Phi 3 small: ends with EOS where no answer is asked for.
  static let phi3Small = ChatStyle(
    name: "Phi 3", sources: [phi3SmallSource], opening: "\u{1}", user: phiTurn("user"),
    assistant: phiTurn("assistant"), firstSystem: .turn(phiTurn("system")),
    laterSystem: .turn(phiTurn("system")), generation: "<|assistant|>\n", closing: "\u{2}")

  /// Phi 3.5 mini, and the later Phi 3 mini.
  static let phi35 = ChatStyle(
    name: "Phi 3.5", sources: [phi35Source], user: phiTurn("user"),
    assistant: phiTurn("assistant"), firstSystem: .turnUnlessEmpty(phiTurn("system")),
    laterSystem: .turnUnlessEmpty(phiTurn("system")), generation: "<|assistant|>\n",
    closing: "\u{2}")

  /// Phi 4.
  static let phi4 = ChatStyle(
    name: "Phi 4", sources: [phi4Source],
    user: ChatTurn(
      before: "<|im_start|>user<|im_sep|>", end: "",
      after: "<|im_end|><|im_start|>assistant<|im_sep|>"),
    assistant: ChatTurn(before: "", end: "<|im_end|>"), firstSystem: .turn(phi4System),
    laterSystem: .turn(phi4System), generates: .never)

  private static let phi4System = ChatTurn(
    before: "<|im_start|>system<|im_sep|>", end: "<|im_end|>")

  private static func phi3(sources: [String], opening: String) -> ChatStyle {
    ChatStyle(
      name: "Phi 3", sources: sources, opening: opening,
      user: ChatTurn(before: "<|user|>\n", end: "", after: "<|end|>\n<|assistant|>\n"),
      assistant: ChatTurn(before: "", end: "<|end|>", after: "\n"), firstSystem: .nothing,
      laterSystem: .nothing, generates: .never)
  }

  private static func phiTurn(_ role: String) -> ChatTurn {
    ChatTurn(before: "<|\(role)|>\n", end: "<|end|>", after: "\n")
  }

  /// Phi-3-mini-4k-instruct, first
  private static let phi3Source = #"""
    {{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') %}{{'<|user|>' + '
    ' + message['content'] + '<|end|>' + '
    ' + '<|assistant|>' + '
    '}}{% elif (message['role'] == 'assistant') %}{{message['content'] + '<|end|>' + '
    '}}{% endif %}{% endfor %}
    """#

  /// Phi-3-medium-4k-instruct
  private static let phi3MediumSource = #"""
    {% for message in messages %}{% if (message['role'] == 'user') %}{{'<|user|>' + '
    ' + message['content'] + '<|end|>' + '
    ' + '<|assistant|>' + '
    '}}{% elif (message['role'] == 'assistant') %}{{message['content'] + '<|end|>' + '
    '}}{% endif %}{% endfor %}
    """#

  /// Phi-3-small-8k-instruct
  private static let phi3SmallSource = #"""
    {{ bos_token }}{% for message in messages %}{{'<|' + message['role'] + '|>' + '
    ' + message['content'] + '<|end|>
    ' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>
    ' }}{% else %}{{ eos_token }}{% endif %}
    """#

  /// Phi-3.5-mini-instruct
  private static let phi35Source = #"""
    {% for message in messages %}{% if message['role'] == 'system' and message['content'] %}{{'<|system|>
    ' + message['content'] + '<|end|>
    '}}{% elif message['role'] == 'user' %}{{'<|user|>
    ' + message['content'] + '<|end|>
    '}}{% elif message['role'] == 'assistant' %}{{'<|assistant|>
    ' + message['content'] + '<|end|>
    '}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>
    ' }}{% else %}{{ eos_token }}{% endif %}
    """#

  /// phi-4
  private static let phi4Source = #"""
    {% for message in messages %}{% if (message['role'] == 'system') %}{{'<|im_start|>system<|im_sep|>' + message['content'] + '<|im_end|>'}}{% elif (message['role'] == 'user') %}{{'<|im_start|>user<|im_sep|>' + message['content'] + '<|im_end|><|im_start|>assistant<|im_sep|>'}}{% elif (message['role'] == 'assistant') %}{{message['content'] + '<|im_end|>'}}{% endif %}{% endfor %}
    """#
}
