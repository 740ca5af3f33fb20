/// Families that write roles as `<|user|>` with a newline: Tulu, OLMo, Zephyr.
extension ChatStyle {
  /// Tulu 2.
  static let tulu2 = ChatStyle(
    name: "Tulu", sources: [tulu2Source], user: roleTurn("user"), assistant: roleAnswer,
    firstSystem: .turn(roleTurn("system")), laterSystem: .turn(roleTurn("system")),
    generation: "<|assistant|>\n")

  /// Tulu 3: no newline behind a last answer.
  static let tulu3 = ChatStyle(
    name: "Tulu 3", sources: [tulu3Source], user: roleTurn("user"), assistant: roleAnswer,
    firstSystem: .turn(roleTurn("system")), laterSystem: .turn(roleTurn("system")),
    generation: "<|assistant|>\n", endsWithAnswer: true)

  /// OLMo 1: begins with EOS and drops system messages.
  static let olmo = ChatStyle(
    name: "OLMo", sources: [olmoSource], opening: "\u{2}", user: roleTurn("user"),
    assistant: roleAnswer, firstSystem: .nothing, laterSystem: .nothing,
    generation: "<|assistant|>\n")

  /// OLMo 1 with system messages.
  static let olmoSystem = ChatStyle(
    name: "OLMo", sources: [olmoSystemSource], opening: "\u{2}", user: roleTurn("user"),
    assistant: roleAnswer, firstSystem: .turn(roleTurn("system")),
    laterSystem: .turn(roleTurn("system")), generation: "<|assistant|>\n")

  /// OLMo 2: Tulu 3 behind BOS.
  static let olmo2 = ChatStyle(
    name: "OLMo 2", sources: [olmo2Source], opening: "\u{1}", user: roleTurn("user"),
    assistant: roleAnswer, firstSystem: .turn(roleTurn("system")),
    laterSystem: .turn(roleTurn("system")), generation: "<|assistant|>\n", endsWithAnswer: true)

  /// Zephyr and TinyLlama: every turn ends with EOS.
  static let zephyr = ChatStyle(
    name: "Zephyr", sources: [zephyrSource], user: endedTurn("user"),
    assistant: endedTurn("assistant"), firstSystem: .turn(endedTurn("system")),
    laterSystem: .turn(endedTurn("system")), generation: "<|assistant|>\n")

  private static let roleAnswer = ChatTurn(before: "<|assistant|>\n", end: "\u{2}", after: "\n")

  private static func roleTurn(_ role: String) -> ChatTurn {
    ChatTurn(before: "<|\(role)|>\n", end: "", after: "\n")
  }

  private static func endedTurn(_ role: String) -> ChatTurn {
    ChatTurn(before: "<|\(role)|>\n", end: "\u{2}", after: "\n")
  }

  /// tulu-2-7b
  private static let tulu2Source = #"""
    {% for message in messages %}
    {% if message['role'] == 'system' %}
    {{ '<|system|>
    ' + message['content'] }}
    {% elif message['role'] == 'user' %}
    {{ '<|user|>
    ' + message['content'] }}
    {% elif message['role'] == 'assistant' %}
    {{ '<|assistant|>
    '  + message['content'] + eos_token }}
    {% endif %}
    {% if loop.last and add_generation_prompt %}
    {{ '<|assistant|>' }}
    {% endif %}
    {% endfor %}
    """#

  /// Llama-3.1-Tulu-3-8B
  private static let tulu3Source = #"""
    {% for message in messages %}{% if message['role'] == 'system' %}{{ '<|system|>
    ' + message['content'] + '
    ' }}{% elif message['role'] == 'user' %}{{ '<|user|>
    ' + message['content'] + '
    ' }}{% elif message['role'] == 'assistant' %}{% if not loop.last %}{{ '<|assistant|>
    '  + message['content'] + eos_token + '
    ' }}{% else %}{{ '<|assistant|>
    '  + message['content'] + eos_token }}{% endif %}{% endif %}{% if loop.last and add_generation_prompt %}{{ '<|assistant|>
    ' }}{% endif %}{% endfor %}
    """#

  /// OLMo-7B-Instruct
  private static let olmoSource = #"""
    {{ eos_token }}{% for message in messages %}
    {% if message['role'] == 'user' %}
    {{ '<|user|>
    ' + message['content'] }}
    {% elif message['role'] == 'assistant' %}
    {{ '<|assistant|>
    '  + message['content'] + eos_token }}
    {% endif %}
    {% if loop.last and add_generation_prompt %}
    {{ '<|assistant|>' }}
    {% endif %}
    {% endfor %}
    """#

  /// OLMo-7B-Instruct with system messages
  private static let olmoSystemSource = "{{ eos_token }}" + tulu2Source

  /// OLMo-2-1124-7B-Instruct
  private static let olmo2Source = "{{ bos_token }}" + tulu3Source

  /// zephyr-7b-beta, TinyLlama-1.1B-Chat
  private static let zephyrSource = #"""
    {% for message in messages %}
    {% if message['role'] == 'user' %}
    {{ '<|user|>
    ' + message['content'] + eos_token }}
    {% elif message['role'] == 'system' %}
    {{ '<|system|>
    ' + message['content'] + eos_token }}
    {% elif message['role'] == 'assistant' %}
    {{ '<|assistant|>
    '  + message['content'] + eos_token }}
    {% endif %}
    {% if loop.last and add_generation_prompt %}
    {{ '<|assistant|>' }}
    {% endif %}
    {% endfor %}
    """#
}
