<?php

declare(strict_types=1);

namespace Jackfield\Tests\Support;

use PhpParser\Node;
use PhpParser\NodeFinder;
use PhpParser\NodeTraverser;
use PhpParser\NodeVisitor\NameResolver;
use PhpParser\ParserFactory;

/**
 * Finds features newer than PHP 8.1 in source code, which a newer PHP would run without an error.
 *
 * It uses the parser that phpunit depends on. Code that this parser rejects is too new as well.
 */
final class Php81Check
{
    /** Functions that the core and json gained after 8.1. */
    private const FUNCTIONS = [
        'ini_parse_quantity', 'memory_reset_peak_usage', 'libxml_get_external_entity_loader',
        'json_validate', 'str_increment', 'str_decrement', 'stream_context_set_options', 'mb_str_pad',
        'posix_eaccess', 'posix_sysconf', 'posix_pathconf', 'posix_fpathconf', 'socket_atmark',
        'array_find', 'array_find_key', 'array_any', 'array_all', 'fpow', 'request_parse_body',
        'http_get_last_response_headers', 'http_clear_last_response_headers', 'mb_trim', 'mb_ltrim', 'mb_rtrim',
        'mb_ucfirst', 'mb_lcfirst', 'array_first', 'array_last', 'get_error_handler', 'get_exception_handler',
    ];

    /** Classes and namespaces that PHP gained after 8.1. */
    private const CLASSES =
        '/^(Random\\\\|Uri\\\\|RoundingMode$|Date(Malformed|Invalid|Range|Object|Error|Exception)\w*$)/i';

    /** Functions that PHP compiles to an instruction in a namespace that imports them. */
    private const COMPILED = [
        'strlen', 'count', 'in_array', 'array_key_exists', 'get_class', 'is_int', 'is_string', 'is_array', 'is_object',
        'is_float', 'is_resource', 'ord', 'chr',
    ];

    /** Expressions that PHP compiles to a jump. */
    private const CONDITIONALS = [
        Node\Expr\Ternary::class, Node\Expr\BinaryOp\Coalesce::class, Node\Expr\BinaryOp\BooleanAnd::class,
        Node\Expr\BinaryOp\BooleanOr::class, Node\Expr\Match_::class, Node\Expr\NullsafePropertyFetch::class,
        Node\Expr\NullsafeMethodCall::class,
    ];

    /** Methods of built-in classes that the package calls. */
    private const METHODS = [
        'getMessage', 'getCode', 'getReturn', 'isTerminated', 'top', 'extract', 'insert', 'enqueue', 'dequeue', 'bottom',
    ];

    /**
     * Returns the newer features in the code, with their lines.
     *
     * @return list<string>
     */
    public static function violations(string $code): array
    {
        try {
            $nodes = self::parse($code);
        } catch (\PhpParser\Error $error) {
            return [$error->getMessage()];
        }

        $found = [];
        foreach ((new NodeFinder())->find($nodes, static fn (Node $node): bool => self::isNewer($node)) as $node) {
            $found[] = "{$node->getType()} on line {$node->getStartLine()}";
        }

        return $found;
    }

    /**
     * Returns the names of the functions that the code calls.
     *
     * @return list<string>
     */
    public static function calledFunctions(string $code): array
    {
        $names = [];
        foreach ((new NodeFinder())->findInstanceOf(self::parse($code), Node\Expr\FuncCall::class) as $call) {
            if ($call->name instanceof Node\Name) {
                $names[] = $call->name->getLast();
            }
        }

        return array_values(array_unique($names));
    }

    /**
     * Returns the calls of built-in functions and the conditional expressions in arguments of
     * calls, with their lines.
     *
     * Functions that PHP compiles to an instruction, such as strlen(), are no calls.
     *
     * @return list<string>
     */
    public static function interruptibleArguments(string $code): array
    {
        $found = [];
        $collect = static function (Node $node, bool $isArgument) use (&$collect, &$found): void {
            $name = match (true) {
                $node instanceof Node\Expr\FuncCall && $node->name instanceof Node\Name => $node->name->getLast(),
                $node instanceof Node\Expr\MethodCall && $node->name instanceof Node\Identifier => $node->name->name,
                default => '',
            };
            $isCompiled = in_array($name, self::COMPILED, true);
            $isBuiltIn = $node instanceof Node\Expr\FuncCall && function_exists($name)
                || in_array($name, self::METHODS, true);
            if ($isArgument && $isBuiltIn && !$isCompiled) {
                $found[] = "$name on line {$node->getStartLine()}";
            } elseif ($isArgument && in_array($node::class, self::CONDITIONALS, true)) {
                $found[] = "{$node->getType()} on line {$node->getStartLine()}";
            }

            foreach ($node->getSubNodeNames() as $part) {
                foreach (is_array($node->$part) ? $node->$part : [$node->$part] as $child) {
                    if ($child instanceof Node) {
                        $collect($child, match (true) {
                            $child instanceof Node\FunctionLike => false,
                            $child instanceof Node\Arg => !$isCompiled,
                            default => $isArgument,
                        });
                    }
                }
            }
        };
        foreach (self::parse($code) as $node) {
            $collect($node, false);
        }

        return $found;
    }

    /** @return array<Node> */
    private static function parse(string $code): array
    {
        $factory = new ParserFactory();
        $parser = method_exists($factory, 'createForNewestSupportedVersion')
            ? $factory->createForNewestSupportedVersion()
            : $factory->create(ParserFactory::ONLY_PHP7);
        $traverser = new NodeTraverser();
        $traverser->addVisitor(new NameResolver());

        return $traverser->traverse($parser->parse($code) ?? []);
    }

    private static function isNewer(Node $node): bool
    {
        return match (true) {
            $node instanceof Node\Stmt\Class_ => $node->isReadonly(),
            $node instanceof Node\Stmt\Trait_ => $node->getConstants() !== [],
            $node instanceof Node\Stmt\ClassConst => ($node->type ?? null) !== null,
            $node instanceof Node\Expr\ClassConstFetch => $node->name instanceof Node\Expr,
            $node instanceof Node\UnionType => self::contains($node->types, Node\IntersectionType::class)
                || in_array('true', array_map(self::name(...), $node->types), true),
            $node instanceof Node\FunctionLike
                => in_array(self::name($node->getReturnType()), ['null', 'false', 'true'], true),
            $node instanceof Node\Param, $node instanceof Node\Stmt\Property
                => in_array(self::name($node->type), ['null', 'false', 'true'], true),
            $node instanceof Node\Expr\FuncCall => $node->name instanceof Node\Name
                && in_array(strtolower($node->name->getLast()), self::FUNCTIONS, true),
            $node instanceof Node\Name => preg_match(self::CLASSES, $node->toString()) === 1,
            default => false,
        };
    }

    private static function name(?Node $type): string
    {
        return $type instanceof Node\Identifier || $type instanceof Node\Name ? strtolower($type->toString()) : '';
    }

    /** @param array<Node> $nodes */
    private static function contains(array $nodes, string $class): bool
    {
        foreach ($nodes as $node) {
            if ($node instanceof $class) {
                return true;
            }
        }

        return false;
    }
}
