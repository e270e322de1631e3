"""Shop: products to search and compare, a wish list, a cart, a checkout that can't be taken back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from universe2.envs.web.site import Fact, Move, Request, Served, Task, button, options, text

_KINDS = {
    "Mugs": ("Mug", "Cup", "Tankard"),
    "Lamps": ("Desk Lamp", "Floor Lamp", "Lantern"),
    "Bags": ("Backpack", "Tote", "Satchel"),
    "Clocks": ("Wall Clock", "Alarm Clock", "Timer"),
}
_LOOKS = ("Blue", "Copper", "Oak", "Scarlet", "Slate", "Amber", "Ivory", "Olive")
_NAMES = ("Ada Brook", "Ravi Stone", "Mina Holt", "Leo Park", "Zoe Marsh")
_CITIES = ("Lyon", "Porto", "Bergen", "Graz", "Utrecht")
_DELIVERY = ("Standard", "Express", "Pick-up")
_AMOUNTS = [str(n) for n in range(1, 7)]


@dataclass
class Product:
    name: str
    kind: str
    price: int
    """in cents"""
    rating: float


class Shop(Served):
    """Four kinds of goods, five of each."""

    title = "Corner Shop"
    final = frozenset({"order"})
    routes: ClassVar = {
        "/": "home",
        "/search": "search",
        "/kind/": "kind",
        "/product/": "product",
        "/cart": "cart",
        "/add/": "add",
        "/set/": "set_amount",
        "/wish/": "toggle_wish",
        "/wishes": "wishes",
        "/checkout": "checkout",
        "/order": "order",
    }

    def fill(self) -> None:
        self.products: list[Product] = []
        for kind, nouns in _KINDS.items():
            names = self.rng.sample([f"{look} {noun}" for look in _LOOKS for noun in nouns], 5)
            prices = self.rng.sample(range(500, 9000, 45), 5)
            ratings = self.rng.sample(range(21, 50), 5)
            for name, price, rating in zip(names, prices, ratings, strict=True):
                self.products.append(Product(name, kind, price, rating / 10))
        chosen = self.rng.sample(self.products, 4)
        self.amounts = {p.name: self.rng.randint(1, 4) for p in chosen[:2]}
        self.wished = {p.name for p in chosen[2:]}
        self.orders: list[Fact] = []

    def facts(self) -> frozenset[Fact]:
        cart = {("cart", name, amount) for name, amount in self.amounts.items()}
        return frozenset(cart | {("wish", name) for name in self.wished} | set(self.orders))

    def menu(self) -> list[tuple[str, str]]:
        count = sum(self.amounts.values())
        return [("/", "Home"), ("/wishes", f"Wish list ({len(self.wished)})"), ("/cart", f"Cart ({count})")]

    def home(self, request: Request) -> str:
        kinds = "".join(f'<p class="card"><a href="/kind/{k}">{k}</a></p>' for k in _KINDS)
        return self.page("Welcome", f'{_SEARCH}<h2>Kinds</h2><div class="cards">{kinds}</div>')

    def kind(self, request: Request) -> str:
        kind = request.path.rsplit("/", 1)[-1]
        return self.page(kind, _SEARCH + self._cards([p for p in self.products if p.kind == kind]))

    def search(self, request: Request) -> str:
        wanted = request.values.get("q", "").lower().split()
        found = [p for p in self.products if all(word in p.name.lower() for word in wanted)]
        return self.page(f"{len(found)} found", _SEARCH + self._cards(found))

    def product(self, request: Request) -> str:
        return self._product(self._find(request))

    def add(self, request: Request) -> str:
        product = self._find(request)
        amount = _amount(request)
        self.amounts[product.name] = self.amounts.get(product.name, 0) + amount
        self.notice = f"{amount} × {product.name} put in the cart."
        return self._product(product)

    def toggle_wish(self, request: Request) -> str:
        product = self._find(request)
        self.wished ^= {product.name}
        return self._product(product)

    def cart(self, request: Request) -> str:
        if not self.amounts:
            return self.page("Cart", "<p>The cart is empty.</p>")
        rows = "".join(self._row(self._named(name), amount) for name, amount in self.amounts.items())
        total = sum(self._named(name).price * amount for name, amount in self.amounts.items())
        head = "<tr><th>Product<th>Each<th>Amount<th></tr>"
        return self.page(
            "Cart",
            f'<table>{head}{rows}</table><p>Total: <span class="price">{_money(total)}</span></p>'
            '<p><a href="/checkout">Go to checkout</a></p>',
        )

    def set_amount(self, request: Request) -> str:
        name = self._find(request).name
        if request.values.get("amount", "") == "0":
            self.amounts.pop(name, None)
        else:
            self.amounts[name] = _amount(request)
        return self.cart(request)

    def wishes(self, request: Request) -> str:
        return self.page("Wish list", self._cards([p for p in self.products if p.name in self.wished]))

    def checkout(self, request: Request) -> str:
        if not self.amounts:
            return self.page("Checkout", "<p>The cart is empty.</p>")
        goods = ", ".join(f"{amount} × {text(name)}" for name, amount in self.amounts.items())
        return self.page(
            "Checkout",
            f'<p>{goods}</p><form class="stack" method="post" action="/order">'
            '<label>Name <input name="name" required></label><label>City <input name="city" required></label>'
            f'<label>Delivery <select name="delivery">{options(list(_DELIVERY))}</select></label>'
            "<button>Place order</button></form>",
        )

    def order(self, request: Request) -> str:
        values = request.values
        if not self.amounts or not values.get("name") or not values.get("city"):
            self.notice = "Name and city are needed."
            return self.checkout(request)
        self.orders.append(_order(self.amounts, values["name"], values["city"], values["delivery"]))
        self.amounts = {}
        return self.page("Thank you", "<p>The order is on its way.</p>")

    def _cards(self, products: list[Product]) -> str:
        cards = "".join(
            f'<div class="card"><a href="/product/{self.products.index(p)}">{text(p.name)}</a><br>'
            f'<span class="price">{_money(p.price)}</span> <span class="tag">★ {p.rating}</span></div>'
            for p in products
        )
        return f'<div class="cards">{cards}</div>'

    def _product(self, product: Product) -> str:
        number = self.products.index(product)
        wish = "Take off the wish list" if product.name in self.wished else "Put on the wish list"
        return self.page(
            product.name,
            f'<p><span class="price">{_money(product.price)}</span> '
            f'<span class="tag">★ {product.rating}</span> in '
            f'<a href="/kind/{product.kind}">{product.kind}</a></p>'
            f'<form method="post" action="/add/{number}"><label>Amount <select name="amount">'
            f"{options(_AMOUNTS)}</select></label> <button>Add to cart</button></form> "
            + button(f"/wish/{number}", wish, quiet=True),
        )

    def _row(self, product: Product, amount: int) -> str:
        number, name = self.products.index(product), text(product.name)
        chosen = (
            f'<form method="post" action="/set/{number}"><select name="amount" aria-label="Amount of {name}">'
            f"{options(_AMOUNTS, str(amount))}</select> "
            f'<button aria-label="Change {name}">Change</button></form>'
        )
        remove = (
            f'<form method="post" action="/set/{number}"><input type="hidden" name="amount" value="0">'
            f'<button class="quiet" aria-label="Remove {name}">Remove</button></form>'
        )
        return f"<tr><td>{name}<td>{_money(product.price)}<td>{chosen}<td>{remove}</tr>"

    def _find(self, request: Request) -> Product:
        number = request.path.rsplit("/", 1)[-1]
        return self.products[int(number) % len(self.products) if number.isdigit() else 0]

    def _named(self, name: str) -> Product:
        return next(p for p in self.products if p.name == name)

    def other(self) -> Product:
        """A product that is neither in the cart nor wished for."""
        return self.rng.choice([p for p in self.products if p.name not in {*self.amounts, *self.wished}])


_SEARCH = (
    '<form action="/search" role="search"><input type="search" name="q" aria-label="Search products"> '
    "<button>Search</button></form>"
)


def _money(cents: int) -> str:
    return f"${cents // 100}.{cents % 100:02d}"


def _amount(request: Request) -> int:
    amount = request.values.get("amount", "1")
    return int(amount) if amount in _AMOUNTS else 1


def _order(amounts: dict[str, int], name: str, city: str, delivery: str) -> Fact:
    return ("order", tuple(sorted(amounts.items())), name, city, delivery)


def _to(product: Product) -> tuple[Move, ...]:
    return (("type", "Search products", product.name), ("click", "Search"), ("click", product.name))


def _cart(shop: Shop, instruction: str, *goods: tuple[Product, int]) -> Task:
    solution: list[Move] = []
    for product, amount in goods:
        solution += [
            ("click", "Home"),
            *_to(product),
            ("select", "Amount", str(amount)),
            ("click", "Add to cart"),
        ]
    return Task(instruction, frozenset(("cart", p.name, n) for p, n in goods), frozenset(), tuple(solution))


def _add(shop: Shop) -> Task:
    product, amount = shop.other(), shop.rng.randint(2, 6)
    return _cart(shop, f'Put {amount} of "{product.name}" in the cart.', (product, amount))


def _add_two(shop: Shop) -> Task:
    first = shop.other()
    second = next(p for p in iter(shop.other, None) if p is not first)
    asked = f'Put one "{first.name}" and two of "{second.name}" in the cart.'
    return _cart(shop, asked, (first, 1), (second, 2))


def _extreme(shop: Shop, word: str, better: int) -> Task:
    # What lies in the cart already would count twice: its kinds are left out.
    taken = {p.kind for p in shop.products if p.name in shop.amounts}
    kind = shop.rng.choice([k for k in _KINDS if k not in taken])
    among = [p for p in shop.products if p.kind == kind]
    best = min(among, key=lambda p: p.price) if better < 0 else max(among, key=lambda p: p.rating)
    return _cart(shop, f"Put one of the {word} of all {kind} in the cart.", (best, 1))


def _cheapest(shop: Shop) -> Task:
    return _extreme(shop, "cheapest", -1)


def _best(shop: Shop) -> Task:
    return _extreme(shop, "best rated (★)", 1)


def _remove(shop: Shop) -> Task:
    name = shop.rng.choice(sorted(shop.amounts))
    solution = (("click", shop.menu()[2][1]), ("click", f"Remove {name}"))
    return Task(
        f'Remove "{name}" from the cart.',
        frozenset(),
        frozenset({("cart", name, shop.amounts[name])}),
        solution,
    )


def _change(shop: Shop) -> Task:
    name = shop.rng.choice(sorted(shop.amounts))
    amount = shop.amounts[name] + shop.rng.choice((1, 2))
    moves = (
        ("click", shop.menu()[2][1]),
        ("select", f"Amount of {name}", str(amount)),
        ("click", f"Change {name}"),
    )
    gone = frozenset({("cart", name, shop.amounts[name])})
    return Task(
        f'Make it {amount} of "{name}" in the cart.', frozenset({("cart", name, amount)}), gone, moves
    )


def _wish(shop: Shop) -> Task:
    product = shop.other()
    moves = (*_to(product), ("click", "Put on the wish list"))
    return Task(
        f'Put "{product.name}" on the wish list.', frozenset({("wish", product.name)}), frozenset(), moves
    )


def _unwish(shop: Shop) -> Task:
    name = shop.rng.choice(sorted(shop.wished))
    moves = (("click", shop.menu()[1][1]), ("click", name), ("click", "Take off the wish list"))
    return Task(f'Take "{name}" off the wish list.', frozenset(), frozenset({("wish", name)}), moves)


def _checkout(
    shop: Shop, instruction: str, amounts: dict[str, int], before: tuple[Move, ...], links: int
) -> Task:
    name, city, delivery = (shop.rng.choice(some) for some in (_NAMES, _CITIES, _DELIVERY))
    wanted = frozenset({_order(amounts, name, city, delivery)})
    gone = frozenset(("cart", n, a) for n, a in shop.amounts.items())
    moves = (
        *before,
        ("click", f"Cart ({links})"),
        ("click", "Go to checkout"),
        ("type", "Name", name),
        ("type", "City", city),
        ("select", "Delivery", delivery),
        ("click", "Place order"),
    )
    return Task(f"{instruction} for {name} in {city}, delivery: {delivery}.", wanted, gone, moves)


def _order_cart(shop: Shop) -> Task:
    return _checkout(shop, "Order what is in the cart", dict(shop.amounts), (), sum(shop.amounts.values()))


def _order_more(shop: Shop) -> Task:
    product = shop.other()
    amounts = {**shop.amounts, product.name: 1}
    before = (*_to(product), ("click", "Add to cart"))
    asked = f'Put one "{product.name}" in the cart and order all that is in it'
    return _checkout(shop, asked, amounts, before, sum(amounts.values()))


def _order_less(shop: Shop) -> Task:
    name = shop.rng.choice(sorted(shop.amounts))
    amounts = {n: a for n, a in shop.amounts.items() if n != name}
    before = (("click", shop.menu()[2][1]), ("click", f"Remove {name}"))
    asked = f'Order what is in the cart, but without "{name}",'
    return _checkout(shop, asked, amounts, before, sum(amounts.values()))


Shop.templates = {
    "add": _add,
    "add-two": _add_two,
    "add-cheapest": _cheapest,
    "add-best": _best,
    "remove": _remove,
    "change-amount": _change,
    "wish": _wish,
    "unwish": _unwish,
    "order-cart": _order_cart,
    "order-more": _order_more,
    "order-less": _order_less,
}
